"""Weight files: {official parameter name: array}, as `.safetensors`, `.pth`/`.pt`/`.ckpt` (PyTorch) or `.pkl`.

Files come from outside, so reading is guarded: nothing that a file names is imported or called (`pickles.py`,
`pth.py`), headers are checked against the bytes that are there, and whatever is wrong ends in one line that names the
file. Both frameworks read through here.

Values keep their bits and their type. bfloat16, which NumPy lacks, is carried as its 16 bits under the dtype
`BFLOAT16`; `as_float32` widens it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from parity.errors import UserError
from parity.files import atomic
from parity.weights.pickles import BFLOAT16, KINDS, Foreign, Refused, guarded, read_pkl, write_pkl
from parity.weights.pth import allowance, read_pth, write_pth

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".pkl")
SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
WRAPPERS = (  # where official training scripts keep the weights, best first: the average is what they evaluate
    ("ema", "module"),
    ("ema", "state_dict"),
    ("ema",),
    ("model_ema",),
    ("model",),
    ("state_dict",),
    ("net",),
)
PthReader = Callable[[Path], Any]


@dataclass
class Loaded:
    """The content of a weights file.

    arrays   tensors by name, after unwrapping and without the `module.` prefix
    names    for each of those names the name as it stands in the file, inside the wrapper
    wrapper  where they lay, e.g. "ema.module"; None when the file is the state dict itself
    skipped  names of entries beside the tensors that are no tensors
    """

    arrays: dict[str, np.ndarray]
    names: dict[str, str] = field(default_factory=dict)
    wrapper: str | None = None
    skipped: list[str] = field(default_factory=list)


def suffix_of(path: str | Path) -> str:
    """The suffix that decides the format. Raises UserError when it is none of SUFFIXES."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown weights format {suffix!r}, expected one of {', '.join(SUFFIXES)}")
    return suffix


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a weights file, contiguous, 0-d arrays kept. See `load`."""
    return load(path).arrays


def load(path: str | Path, pth_reader: PthReader = read_pth) -> Loaded:
    """Read a weights file and report how it was wrapped.

    `pth_reader(path)` gives the tree of dicts in a `.pth`; a caller with a container of its own may bring another one.
    Raises UserError for anything that is not a readable weights file.
    """
    path, suffix = Path(path), suffix_of(path)
    if suffix == ".safetensors":
        arrays = _read_safetensors(path)
        return Loaded(arrays, {name: name for name in arrays})
    tree = read_pkl(path) if suffix == ".pkl" else pth_reader(path)
    with guarded(path):
        return _unwrap(tree, allowance(path))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "resolve")


def _is_number(array: np.ndarray) -> bool:
    return array.dtype == BFLOAT16 or array.dtype.kind in KINDS


def _unwrap(tree: Any, budget: int) -> Loaded:
    """Find the state dict inside a checkpoint and resolve its tensors, at most `budget` bytes of them."""
    if isinstance(tree, Foreign):
        raise Refused(f"holds an object of {tree.name}, expected a dict of tensors; nothing was run")
    if not isinstance(tree, dict):
        raise Refused(f"holds a {type(tree).__name__}, expected a dict of tensors")
    wrapper, found = None, tree
    if not any(_is_tensor(value) for value in tree.values()):
        for keys in WRAPPERS:
            inner: Any = tree
            for key in keys:
                inner = inner.get(key) if isinstance(inner, dict) else None
            if isinstance(inner, dict) and any(_is_tensor(value) for value in inner.values()):
                wrapper, found = ".".join(keys), inner
                break
        else:
            keys = ", ".join(str(key)[:40] for key in list(tree)[:8])
            raise Refused(f"holds no tensors at the top nor under ema, model, state_dict or net (keys: {keys})")
    for name, value in found.items():
        if isinstance(value, Foreign) and value.name.startswith("torch._utils._rebuild"):
            raise Refused(f"holds {str(name)[:80]} as {value.name}, a kind of tensor that is not supported")
    skipped = [str(name) for name, value in found.items() if not _is_tensor(value)]
    tensors = {str(name): value for name, value in found.items() if _is_tensor(value)}
    names = {name: name for name in tensors}
    if any(name.startswith("avg_model.") for name in names):  # NanoDet-Plus: the average stands beside the model
        names = {name.removeprefix("avg_"): name for name in names if name.startswith("avg_model.")}
    for prefix in ("model.", "module."):  # of a training task around the model, of its distribution over devices
        if all(name.startswith(prefix) for name in names):
            names = {name.removeprefix(prefix): source for name, source in names.items()}
    arrays = {}
    for name, source in names.items():
        value = tensors[source]
        value = np.asarray(value if isinstance(value, np.ndarray) else value.resolve())
        if not _is_number(value):
            raise Refused(f"holds {source} in dtype {value.dtype}, which is not supported")
        budget -= value.nbytes
        if budget < 0:
            raise Refused("describes tensors far larger than the file itself")
        arrays[name] = np.asarray(value, order="C")
    return Loaded(arrays, names, wrapper, skipped)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with guarded(path):
        data = path.read_bytes()
        try:
            entries = safetensors.deserialize(data)
        except safetensors.SafetensorError as error:
            raise Refused(f"is damaged or not a safetensors file ({error})") from error
        arrays = {}
        for name, entry in sorted(entries, key=itemgetter(0)):  # they come in another order in every process
            code = entry["dtype"]
            dtype = BFLOAT16 if code == "BF16" else np.dtype(SAFETENSORS[code]) if code in SAFETENSORS else None
            if dtype is None:
                raise Refused(f"holds {name} in dtype {code}, which is not supported")
            arrays[name] = np.frombuffer(bytearray(entry["data"]), dtype).reshape(entry["shape"])
        return arrays


def read_metadata(path: str | Path) -> dict[str, str]:
    """The `__metadata__` of a safetensors file."""
    with guarded(path):
        try:
            with safetensors.safe_open(str(path), framework="numpy") as handle:
                return dict(handle.metadata() or {})
        except safetensors.SafetensorError as error:
            raise Refused(f"is damaged or not a safetensors file ({error})") from error


def write(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write {name: array}, the suffix deciding the format; `metadata` (strings) goes into safetensors only.

    Written under another name and renamed, so that a file is there complete or not at all.
    """
    path, suffix = Path(path), suffix_of(path)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in arrays.items():
        if not _is_number(array):
            raise UserError(f"{path}: {name} has dtype {array.dtype}, which is no number type")
    with guarded(path):
        if suffix == ".pkl":
            write_pkl(path, arrays)
        elif suffix == ".safetensors":
            _write_safetensors(path, arrays, metadata)
        else:
            write_pth(path, arrays)


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None) -> None:
    entries = {}
    for name, array in arrays.items():
        little = array if array.dtype.names else array.astype(array.dtype.newbyteorder("<"), copy=False)
        dtype = "bfloat16" if array.dtype == BFLOAT16 else array.dtype.name
        entries[name] = {"dtype": dtype, "shape": array.shape, "data": little.tobytes()}
    with atomic(path) as temporary:
        try:
            safetensors.serialize_file(entries, str(temporary), metadata=metadata)
        except safetensors.SafetensorError as error:  # how a full disk is reported
            raise UserError(f"{path}: cannot be written: {error}") from error


def as_float32(array: np.ndarray) -> np.ndarray:
    """Values as float32; bfloat16 is widened exactly."""
    if array.dtype == BFLOAT16:
        return (array["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def weights_sha256(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 (hex) over the sorted names, each followed by its values as little-endian float32."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(name.encode())
        sha.update(as_float32(np.asarray(arrays[name])).astype("<f4").tobytes())
    return sha.hexdigest()
