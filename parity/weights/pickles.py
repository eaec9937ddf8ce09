"""Read the data in a pickle without running anything of it, and write the `.pkl` that Jittor reads.

The standard unpickler calls whatever a file names. `Unpickler` overrides the places where that happens: a name from the
file becomes an object of this module, never an import. A few names rebuild tensors and NumPy values. Every other name
becomes `Foreign`, which keeps nothing and does nothing: a checkpoint may carry its training history or a path, and the
weights beside it are still read. Tensors come out as objects with `resolve()`, so that the optimiser state of a
checkpoint costs nothing when only its weights are wanted.

The base is `pickle._Unpickler`, the standard library's unpickler in Python: the one in C sets the state of any object,
hashes a key that is made of shared tuples without end, and lets a file of ten bytes ask for a memo of 16 GB.

`.pkl` files are what `jittor.save` writes: a pickle of {name: array or Var}, then SHA-1 and a magic word.
"""

import hashlib
import io
import math
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from parity.errors import UserError
from parity.files import atomic

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # NumPy has no bfloat16: its bits, under a name that no other file uses
KINDS = "fiub"  # NumPy kinds of a weight: floating, signed, unsigned, bool
LIMIT = 1 << 48  # no size, stride or offset of a real tensor comes near
JITTOR_MAGIC = b"HCAJSLHD"  # ends a file of jittor.save, after 20 bytes of SHA-1
DAMAGED = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError, EOFError),
    *(pickle.UnpicklingError, struct.error, RecursionError),
)


class Refused(Exception):
    """Raised inside the readers for wrong content. `guarded` turns it into a UserError that names the file."""


@contextmanager
def guarded(path: str | Path) -> Iterator[None]:
    """Turn every exception that a malformed file can raise into one line that names the file."""
    try:
        yield
    except Refused as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: is damaged or not a weights file ({type(error).__name__}: {reason})") from error


class Foreign:
    """Stands for a name that the reader does not know, and for objects that the file makes from it. It is inert."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def append(self, _: Any) -> None:
        """Nothing: a file may fill an object as a list, as a set or as a dict."""

    extend = add = append

    def __setitem__(self, _: Any, __: Any) -> None:
        pass


class Named:
    """A name that the reader knows. `call` answers a call of it, `dtype` is what a torch type stands for."""

    __slots__ = ("call", "dtype", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None = None, dtype: np.dtype | None = None):
        self.name, self.call, self.dtype = name, call, dtype


class Built:
    """An object that a file makes in two steps: `arguments` of the call, then `state`. Both are looked at later."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, None


class Dtype(Built):
    """A NumPy dtype: the call gives the code, the state the byte order and, for structures, the fields."""

    def dtype(self) -> np.dtype:
        """The dtype; raises Refused for all but numbers."""
        code, order, names = self.arguments[0], "<", None
        if self.state is not None:
            order, names = self.state[1], self.state[3]
        if names == ("bfloat16",) and code == "V2":
            return BFLOAT16
        if not isinstance(code, str) or len(code) > 4 or code[:1] in "OV" or names is not None:
            raise Refused(f"holds an array of dtype {_short(code)}, expected numbers")
        dtype = np.dtype(code)
        if dtype.kind not in KINDS:
            raise Refused(f"holds an array of dtype {code!r}, expected numbers")
        return dtype.newbyteorder(order) if order in ("<", ">") else dtype


class Array(Built):
    """A NumPy array; the bytes are looked at in `resolve`."""

    def resolve(self) -> np.ndarray:
        """The array, contiguous, in native byte order and writable."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise Refused("holds an unfinished array")
        _, shape, dtype, fortran, data = self.state
        return from_bytes(dtype, shape, data, fortran is True)


def from_bytes(dtype: Any, shape: Any, data: Any, fortran: bool = False) -> np.ndarray:
    """`data` as an array of `shape`, checked against the number of bytes; 0-d stays 0-d."""
    if not isinstance(dtype, Dtype):
        raise Refused("holds an array without a dtype")
    dtype = dtype.dtype()
    if not isinstance(data, (bytes, bytearray)):
        raise Refused("holds an array of Python objects, expected numbers")
    if not (
        isinstance(shape, tuple) and all(type(size) is int and 0 <= size < LIMIT for size in shape) and len(shape) <= 32
    ):
        raise Refused("holds an array whose shape is no tuple of sizes")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Refused(f"holds an array of shape {shape} and dtype {dtype} with {len(data)} bytes")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype.newbyteorder("=") if dtype.names is None else dtype, order="C")


class Later:
    """A value that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]):
        self.resolve = compute


def _scalar(dtype: Any, data: Any) -> Later:
    return Later(lambda: from_bytes(dtype, (), data)[()])


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Later:
    return Later(lambda: from_bytes(dtype, shape, data, order == "F"))


NUMPY: dict[tuple[str, str], Named] = {
    ("numpy", "ndarray"): Named("ndarray"),
    ("numpy", "dtype"): Named("dtype", Dtype),
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and NumPy 2
    NUMPY[f"{_core}.multiarray", "_reconstruct"] = Named("_reconstruct", Array)
    NUMPY[f"{_core}.multiarray", "scalar"] = Named("scalar", _scalar)
    NUMPY[f"{_core}.numeric", "_frombuffer"] = Named("_frombuffer", _frombuffer)
# jittor.save keeps a Var as Var(<its array>); files use either name for the class
JITTOR = NUMPY | {
    key: Named("Var", lambda array: array) for key in (("jittor", "jittor_core.Var"), ("jittor_core", "Var"))
}


def _short(value: Any) -> str:
    """A value of a file for a message. Containers by their type: writing them out may take for ever."""
    if isinstance(value, str):
        return repr(value[:40])
    return str(value) if value is None or isinstance(value, (bool, float)) else type(value).__name__


class Unpickler(pickle._Unpickler):
    """Reads one pickle at the place of `stream`. `table` says what names stand for, `storage` answers persistent ids.

    Raises Refused, or one of DAMAGED, for what plain data and tensors never need.
    """

    def __init__(
        self,
        stream: BinaryIO,
        table: dict[tuple[str, str], Named] | None = None,
        storage: Callable[[Any], Any] | None = None,
        size: int = 0,
    ):
        super().__init__(stream, encoding="latin1")  # Python 2's strings are bytes
        self.storage = storage
        self.budget = size  # values that calls may copy: shared values must not grow without end
        self.table = {
            ("collections", "OrderedDict"): Named("OrderedDict", self._ordered),
            ("_codecs", "encode"): Named("encode", self._encode),
            ("__builtin__", "bytes"): Named("bytes", lambda: b""),  # protocol 2 writes b"" as bytes()
            **(table or {}),
        }

    # ---- where the standard unpickler would import, call or set
    def find_class(self, module: str, name: str) -> Named | Foreign:
        """The meaning of a name in the file. Nothing is imported."""
        return self.table.get((module, name)) or Foreign(f"{module[:60]}.{name[:60]}")

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor refers to."""
        if self.storage is None:
            raise Refused("refers to storages outside the pickle; is it a torch file?")
        return self.storage(pid)

    def call(self, function: Any, arguments: Any) -> Any:
        """The result of a call in the file. A known one rebuilds a value; any other gives a `Foreign`."""
        if isinstance(function, Foreign):
            return function
        if not isinstance(function, Named) or function.call is None or not isinstance(arguments, tuple):
            raise Refused(f"calls {getattr(function, 'name', type(function).__name__)}, which is plain data")
        return function.call(*arguments)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keywords
        self.load_reduce()

    def _instantiate(self, klass: Any, args: list) -> None:
        self.append(self.call(klass, tuple(args)))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Built):
            target.state = state
        elif not isinstance(target, (dict, Foreign)):  # a dict's state is the `_metadata` of a torch state dict
            raise Refused(f"sets the state of {type(target).__name__}, which is plain data")

    def get_extension(self, code: int) -> None:
        raise Refused(f"contains the extension code {code}, which plain data never needs")

    # ---- where it would hash or reserve without bound
    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, (dict, Foreign)):
            raise Refused("sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def load_empty_set(self) -> None:
        self.append([])  # no weights lie in sets, and a list hashes nothing

    def load_additems(self) -> None:
        self.load_appends()

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # changes what `append` is
        self.append(tuple(items))

    def load_appends(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        if not isinstance(target, (list, Foreign)):
            raise Refused("appends to what is no list")
        target.extend(items)

    def load_append(self) -> None:
        value, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (list, Foreign)):
            raise Refused("appends to what is no list")
        target.append(value)

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(size))

    # ---- calls that plain data needs
    def _ordered(self, items: Any = ()) -> dict:
        """OrderedDict() and OrderedDict([(key, value), ...]) as a plain dict."""
        if not isinstance(items, (list, tuple)):
            raise Refused(f"makes a dict of {_short(items)}")
        self._spend(len(items))
        return {_key(key): value for key, value in items}

    def _encode(self, text: str, codec: str = "utf-8") -> Any:
        """Bytes as protocol 2 writes them."""
        if codec not in ("latin1", "latin-1", "ascii", "utf-8"):
            raise Refused(f"encodes bytes as {_short(codec)}")
        self._spend(len(text))
        return text.encode(codec)

    def _spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            raise Refused("describes values far larger than the file itself")

    dispatch = pickle._Unpickler.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


def _key(key: Any) -> Any:
    """A dict's key: plain, foreign, or a flat tuple. To hash nested tuples of a hostile file may take for ever."""
    flat = key if isinstance(key, tuple) and len(key) <= 32 else (key,)
    if all(part is None or isinstance(part, (str, int, float, bytes, Foreign)) for part in flat):
        return key
    raise Refused(f"has a dict key of type {type(key).__name__}, expected a string or a number")


def read_pkl(path: str | Path) -> Any:
    """The value in a `.pkl` of `jittor.save` or `pickle.dump`; arrays have `resolve()`, other objects are `Foreign`.

    Raises UserError for a missing, truncated or altered file.
    """
    with guarded(path):
        data = Path(path).read_bytes()
        if data.endswith(JITTOR_MAGIC):
            data, checksum = data[:-28], data[-28:-8]
            if hashlib.sha1(data).digest() != checksum:
                raise Refused("its checksum does not match, the file is damaged")
        if not data.startswith(b"\x80"):
            raise Refused("is not a pickle of protocol 2 or later")
        stream = io.BytesIO(data)
        value = Unpickler(stream, JITTOR, size=len(data)).load()
        if stream.tell() != len(data):
            raise Refused(f"has {len(data) - stream.tell()} bytes after its pickle")
        return value


def write_pkl(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} as `jittor.save` does: protocol 4, SHA-1, magic word."""
    data = pickle.dumps(arrays, 4)
    with atomic(path) as temporary:
        temporary.write_bytes(data + hashlib.sha1(data).digest() + JITTOR_MAGIC)
