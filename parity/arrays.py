"""Named arrays in `.npz` files, guarded: no objects, no size without bound.

This is not part of `files.py`, because that has to work where NumPy is not installed.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from parity.errors import UserError
from parity.files import atomic

LARGEST_NPZ = 8 << 30  # bytes of all arrays


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of an npz. Raises UserError for a damaged one, for objects, for one that unpacks without bound."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_NPZ:
            raise ValueError(f"would unpack to {size} bytes, at most {LARGEST_NPZ} are read")
        with np.load(path, allow_pickle=False) as npz:
            arrays = {key: npz[key] for key in npz.files}
    except Exception as error:  # zipfile, zlib, NumPy and Python's parser of headers each have errors of their own
        raise UserError(f"{path}: cannot be read as npz: {error or type(error).__name__}") from error
    strange = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise UserError(f"{path}: {strange[0]} is no array")
    return arrays


def write_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz atomically. Keys contain slashes, which np.savez writes as given."""
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)


@contextmanager
def growing(path: str | Path) -> Iterator[Callable[[Mapping[str, np.ndarray]], None]]:
    """Yield a function that adds arrays to an npz one after the other, so that they need not fit in memory together."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def add(arrays: Mapping[str, np.ndarray]) -> None:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as handle:
                    np.lib.format.write_array(handle, np.asarray(array, order="C"), allow_pickle=False)

        yield add
