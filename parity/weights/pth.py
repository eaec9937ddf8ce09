"""Read and write PyTorch's `.pth` without PyTorch: the zip format both ways, the older format (before 1.6) to read.

A zip file holds `<name>/data.pkl`, a pickle whose tensors refer to storages by key, and one stored record
`<name>/data/<key>` per storage. The older format is five pickles in a row, then the storages. All of them go through
`parity.weights.pickles.Unpickler`; nothing is run. Layout: torch/serialization.py of PyTorch 2.

Both frameworks read through here. `torch.load(weights_only=True)` refuses whole files for one object beside the weights
(a NumPy number, a training history), and `jittor.load` unpickles.
"""

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from parity.files import atomic
from parity.weights.pickles import BFLOAT16, LIMIT, NUMPY, Foreign, Later, Named, Refused, Unpickler, guarded

STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
    "UntypedStorage": np.dtype("u1"),
}
DTYPES = {  # torch.<name>; the ones without a storage class of their own travel as UntypedStorage
    "float32": "<f4", "float64": "<f8", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2",
    "int8": "i1", "uint8": "u1", "bool": "?", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
}  # fmt: skip
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
SLACK = 16 << 20  # bytes that shared or expanded tensors may add to a small file


def allowance(path: Path) -> int:
    """Bytes that the tensors of a file may take: tied weights repeat, but a small file must not grow without end."""
    return 4 * path.stat().st_size + SLACK


class Storage:
    """A storage by key; `data` is filled when its bytes are known."""

    def __init__(self, dtype: np.dtype, size: int):
        self.dtype, self.size, self.data = dtype, size, b""


class Reader:
    """One file's storages, and the tensors that view them."""

    def __init__(self, path: Path):
        self.path = path
        self.storages: dict[str, Storage] = {}
        self.budget = allowance(path)

    def table(self) -> dict[tuple[str, str], Named]:
        """The meaning of torch's names in a checkpoint's pickle."""
        names = dict(NUMPY)
        for name, dtype in STORAGES.items():
            for module in ("torch", "torch.cuda", "torch.storage"):
                names[module, name] = Named(name, dtype=dtype)
        for name, code in DTYPES.items():
            names["torch", name] = Named(name, dtype=np.dtype(code))
        names["torch", "bfloat16"] = Named("bfloat16", dtype=BFLOAT16)
        for name, call in (
            ("_rebuild_tensor", self.tensor),
            ("_rebuild_tensor_v2", self.tensor),
            ("_rebuild_tensor_v3", self.tensor_v3),
            ("_rebuild_parameter", lambda data, *_: data),
            ("_rebuild_parameter_with_state", lambda data, *_: data),
        ):
            names["torch._utils", name] = Named(name, call)
        names["torch.nn.parameter", "Parameter"] = Named("Parameter", lambda data, *_: data)
        return names

    def unpickler(self, stream: BinaryIO) -> Unpickler:
        """The reader of the pickle that stands at the place of `stream`."""
        return Unpickler(stream, self.table(), self.storage, self.path.stat().st_size)

    def storage(self, identity: Any) -> Storage:
        """Answer a persistent id ('storage', class, key, location, numel[, view])."""
        if not (isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"):
            raise Refused("refers to something that is no storage")
        kind, key, size = identity[1], identity[2], identity[4]
        if not isinstance(key, (str, int)):
            raise Refused("has a storage whose key is no string")
        if len(identity) == 6 and identity[5] is not None:
            raise Refused("holds storage views, a form that PyTorch gave up before 1.0")
        if isinstance(kind, Foreign):
            raise Refused(f"has a storage of type {kind.name}, expected numbers; nothing was run")
        if not isinstance(kind, Named) or kind.dtype is None or type(size) is not int or size < 0:
            raise Refused("has a storage without a type or a size")
        key = str(key)
        known = self.storages.setdefault(key, Storage(kind.dtype, size))
        if (known.dtype, known.size) != (kind.dtype, size):
            raise Refused(f"describes storage {key:.20} twice, in different ways")
        return known

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Later:
        """A tensor as a view of its storage; checked and copied when it is resolved."""
        return Later(lambda: self.resolve(storage, offset, shape, strides, None))

    def tensor_v3(
        self, storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
    ):
        """The form for types without a storage class of their own: the type comes as an argument."""
        return Later(lambda: self.resolve(storage, offset, shape, strides, getattr(dtype, "dtype", None)))

    def resolve(self, storage: Any, offset: Any, shape: Any, strides: Any, dtype: np.dtype | None) -> np.ndarray:
        """Contiguous copy of the elements that (offset, shape, strides) pick from a storage."""
        sizes = isinstance(shape, tuple) and isinstance(strides, tuple)
        if not sizes or not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > 32:
            raise Refused("holds a malformed tensor")
        numbers = [offset, *shape, *strides]
        if not all(type(number) is int and 0 <= number < LIMIT for number in numbers):
            raise Refused("holds a tensor with a size, stride or offset that is no natural number")
        dtype = dtype or storage.dtype
        count = math.prod(shape)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else 0
        if count and (last + 1) * dtype.itemsize > len(storage.data):
            raise Refused(f"holds a tensor of shape {tuple(shape)} that reaches beyond its storage")
        self.budget -= count * dtype.itemsize
        if self.budget < 0:
            raise Refused("describes tensors far larger than the file itself")
        if count == 0:
            return np.zeros(shape, dtype)
        flat = np.frombuffer(storage.data, dtype, count=len(storage.data) // dtype.itemsize)[offset:]
        steps = [stride * dtype.itemsize for stride in strides]
        return np.array(np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False), order="C")


def read_pth(path: str | Path) -> Any:
    """The value in a `.pth`; tensors have `resolve()`, objects of other packages are `Foreign`. Raises UserError."""
    with guarded(path):
        path = Path(path)
        return _read_zip(path) if _is_zip(path) else _read_legacy(path)


def _read_zip(path: Path) -> Any:
    reader = Reader(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries, pickles = _directory(path, archive)
            prefix = pickles.removesuffix("data.pkl")
            order = archive.read(prefix + "byteorder") if prefix + "byteorder" in entries else b"little"
            if order.strip() != b"little":
                raise Refused("was written on a big-endian machine")
            value = reader.unpickler(io.BytesIO(archive.read(pickles))).load()
            for key, storage in reader.storages.items():
                if f"{prefix}data/{key}" not in entries:
                    raise Refused(f"lacks the record data/{key:.20}")
                storage.data = archive.read(f"{prefix}data/{key}")
                if len(storage.data) < storage.size * storage.dtype.itemsize:
                    raise Refused(f"its record data/{key:.20} is too short")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error) as error:
        raise Refused(f"is a damaged zip archive ({error})") from error
    return value


def _directory(path: Path, archive: zipfile.ZipFile) -> tuple[set[str], str]:
    """Names of the records, and of the pickle among them; refuses a file that could unpack to more than its size."""
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise Refused("is a zip archive without data.pkl, not a torch file")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise Refused("is a compressed zip archive; torch stores its records uncompressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size or len(names) != len(entries):
        raise Refused("its zip directory promises more than the file has")
    return names, pickles[0]


def _is_zip(path: Path) -> bool:
    """Zip or the older format, by the first bytes; anything else is refused."""
    with open(path, "rb") as handle:
        start = handle.read(4)
    if start != b"PK\x03\x04" and start[:1] != b"\x80":
        raise Refused("is not a torch file (neither a zip archive nor a pickle)")
    return start[:1] == b"P"


def _read_legacy(path: Path) -> Any:
    reader = Reader(path)
    stream = io.BytesIO(path.read_bytes())
    magic, protocol, system = (Unpickler(stream).load() for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != 1001:
        raise Refused("is a pickle but not a torch file")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("was written on a big-endian machine")
    value = reader.unpickler(stream).load()
    for key in Unpickler(stream).load():
        storage = reader.storages.get(str(key)) if isinstance(key, (str, int)) else None
        if storage is None:
            raise Refused("has a storage that nothing uses")
        (size,) = struct.unpack("<q", stream.read(8))
        if size != storage.size:
            raise Refused(f"its storage {key!s:.20} has {size} elements, {storage.size} were announced")
        storage.data = stream.read(size * storage.dtype.itemsize)
        if len(storage.data) != size * storage.dtype.itemsize:
            raise Refused("is truncated")
    return value


def write_pth(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} as a `.pth` that `torch.load(weights_only=True)` and `jittor.load` read: one storage each."""
    pickle = [b"\x80\x02}("]
    for key, (name, array) in enumerate(arrays.items()):
        strides, step = [], 1
        for size in reversed(array.shape):
            strides.insert(0, step)
            step *= max(size, 1)
        pickle += [_text(name), _tensor(array, str(key), strides)]
    pickle.append(b"u.")
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), b"".join(pickle))
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), b"little")
        for key, array in enumerate(arrays.values()):
            little = array if array.dtype.names else array.astype(array.dtype.newbyteorder("<"), copy=False)
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}"), little.tobytes())
        archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")


def _tensor(array: np.ndarray, key: str, strides: list[int]) -> bytes:
    """Opcodes that rebuild one tensor (protocol 2)."""
    storages = {dtype: name for name, dtype in STORAGES.items() if name != "UntypedStorage"}
    wide = {np.dtype(code): name for name, code in DTYPES.items()}
    plain = array.dtype if array.dtype.names else array.dtype.newbyteorder("<")
    typed = plain in storages
    if not typed and plain not in wide:
        raise Refused(f"{array.dtype} has no counterpart in a torch file")
    version, kind = ("v2", f"torch\n{storages[plain]}") if typed else ("v3", "torch.storage\nUntypedStorage")
    return b"".join(
        [
            f"ctorch._utils\n_rebuild_tensor_{version}\n((".encode(),
            _text("storage"),
            f"c{kind}\n".encode(),
            _text(key),
            _text("cpu"),
            _int(array.size if typed else array.nbytes),
            b"tQ",  # ('storage', class, key, 'cpu', numel) as a persistent id
            _int(0),
            b"(" + b"".join(map(_int, array.shape)) + b"t",
            b"(" + b"".join(map(_int, strides)) + b"t",
            b"\x89ccollections\nOrderedDict\n)R",  # requires_grad False, no hooks
            b"" if typed else f"ctorch\n{wide[plain]}\n".encode(),
            b"tR",
        ]
    )


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
