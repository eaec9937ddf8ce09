"""Read the data in a pickle without unpickling: a small machine that knows data, and a list of names it may meet.

The standard unpickler calls whatever a file names. This one never imports and never calls anything for a file: it walks
the opcodes with `pickletools.genops`, builds numbers, strings, tuples, lists and dicts, and answers each global name
with an entry of a fixed table, or refuses the file. Tensors come out as objects with `resolve()`, so that the optimiser
state of a checkpoint costs nothing when only its weights are wanted.

`.pkl` files are what `jittor.save` writes: a pickle of {name: array or Var}, then SHA-1 and a magic word.
"""

import hashlib
import io
import math
import pickle
import pickletools
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


class Refused(Exception):
    """Inside the readers: what is wrong with the content. Becomes a UserError that names the file (`guarded`)."""


@contextmanager
def guarded(path: str | Path) -> Iterator[None]:
    """Turn whatever a malformed file can provoke into one line that names it."""
    try:
        yield
    except Refused as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError, EOFError) as error:
        raise UserError(f"{path}: is damaged or not a weights file ({type(error).__name__}: {error})") from error


class Global:
    """An allowed global name of a pickle; `call` answers REDUCE on it, `dtype` is what a torch type stands for."""

    def __init__(self, name: str, call: Callable[..., Any] | None = None, dtype: np.dtype | None = None):
        self.name, self.call, self.dtype = name, call, dtype


class Dtype:
    """A NumPy dtype under construction: REDUCE gives the code, BUILD the byte order and, for structures, the fields."""

    def __init__(self, code: str, *_: Any):
        if not isinstance(code, str) or len(code) > 4:
            raise Refused(f"holds a NumPy dtype {code!r:.40}, expected a number type")
        self.code, self.order, self.names = code, "<", None

    def build(self, state: tuple) -> None:
        self.order, self.names = state[1], state[3]

    def resolve(self) -> np.dtype:
        if self.names == ("bfloat16",) and self.code == "V2":
            return BFLOAT16
        dtype = np.dtype(self.code)
        if dtype.kind not in KINDS or self.names is not None:
            raise Refused(f"holds an array of dtype {self.code!r}, expected numbers")
        return dtype.newbyteorder(self.order) if self.order in "<>" else dtype


class Array:
    """A NumPy array under construction; the bytes are looked at in `resolve`."""

    def __init__(self, *_: Any):
        self.state = None

    def build(self, state: tuple) -> None:
        self.state = state

    def resolve(self) -> np.ndarray:
        """The array, contiguous, in native byte order and writable."""
        if self.state is None or len(self.state) != 5:
            raise Refused("holds an unfinished array")
        _, shape, dtype, fortran, data = self.state
        return from_bytes(dtype, shape, data, fortran)


def from_bytes(dtype: Any, shape: Any, data: Any, fortran: Any = False) -> np.ndarray:
    """`data` as an array of `shape`, checked against the number of bytes; 0-d stays 0-d."""
    if not isinstance(dtype, Dtype):
        raise Refused("holds an array without a dtype")
    dtype = dtype.resolve()
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


def _scalar(dtype: Dtype, data: bytes) -> Later:
    return Later(lambda: from_bytes(dtype, (), data)[()])


def _frombuffer(data: bytes, dtype: Dtype, shape: Any, order: str) -> Later:
    return Later(lambda: from_bytes(dtype, shape, data, order == "F"))


def _encode(text: str, codec: str = "utf-8") -> bytes:
    if codec not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise Refused(f"encodes bytes as {codec!r:.40}")
    return text.encode(codec)


def mapping(*args: Any) -> dict:
    """OrderedDict() and OrderedDict([(k, v), ...]) as a plain dict; keys must be plain."""
    result: dict = {}
    for key, value in args[0] if args else ():
        result[_key(key)] = value
    return result


NUMPY: dict[tuple[str, str], Global] = {
    ("collections", "OrderedDict"): Global("OrderedDict", mapping),
    ("numpy", "ndarray"): Global("ndarray"),
    ("numpy", "dtype"): Global("dtype", Dtype),
    ("_codecs", "encode"): Global("encode", _encode),
    ("__builtin__", "bytes"): Global("bytes", lambda: b""),  # protocol 2 writes b"" as bytes()
}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and NumPy 2
    NUMPY[f"{_core}.multiarray", "_reconstruct"] = Global("_reconstruct", Array)
    NUMPY[f"{_core}.multiarray", "scalar"] = Global("scalar", _scalar)
    NUMPY[f"{_core}.numeric", "_frombuffer"] = Global("_frombuffer", _frombuffer)
# jittor.save keeps a Var as Var(<its array>); the class goes by either name
JITTOR = NUMPY | {
    key: Global("Var", lambda array: array) for key in (("jittor", "jittor_core.Var"), ("jittor_core", "Var"))
}

CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_MARK = object()


def _key(key: Any) -> Any:
    """Keys are plain: hashing a nested tuple of a hostile file may take forever."""
    if key is None or isinstance(key, (str, int, float, bytes)):
        return key
    raise Refused(f"has a dict key of type {type(key).__name__}, expected a string or a number")


class Machine:
    """Runs the opcodes of one pickle. `table` says which names may occur, `persistent` answers persistent ids."""

    def __init__(self, table: dict[tuple[str, str], Global], persistent: Callable[[Any], Any] | None = None):
        self.table, self.persistent = table, persistent
        self.stack: list = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        """Read up to and including STOP and return the value; `stream` then stands behind it."""
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in LITERALS:
                self.stack.append(argument)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name == "STOP":
                return self.pop()
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"op_{name.lower()}", None)
                if step is None:
                    raise Refused(
                        f"contains the pickle operation {name} ({argument!r:.60}), which plain data never needs"
                    )
                step(argument)
        raise Refused("ends before its pickle does")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise Refused("has a pickle with unbalanced marks")
        return value

    def to_mark(self) -> list:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                values = self.stack[position + 1 :]
                del self.stack[position:]
                return values
        raise Refused("has a pickle with unbalanced marks")

    def find(self, module: Any, name: Any) -> Global:
        entry = self.table.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if entry is None:
            raise Refused(
                f"names {module!s:.60}.{name!s:.60}, which is neither a tensor nor plain data; nothing was run"
            )
        return entry

    # ---- one method per operation
    def op_mark(self, _):
        self.stack.append(_MARK)

    def op_empty_dict(self, _):
        self.stack.append({})

    def op_empty_list(self, _):
        self.stack.append([])

    def op_list(self, _):
        self.stack.append(self.to_mark())

    def op_dict(self, _):
        values = self.to_mark()
        self.stack.append({})
        self._set(values)

    def op_tuple(self, _):
        self.stack.append(tuple(self.to_mark()))

    def op_tuple1(self, _):
        self.stack.append((self.pop(),))

    def op_tuple2(self, _):
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def op_tuple3(self, _):
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def op_append(self, _):
        self._extend([self.pop()])

    def op_appends(self, _):
        self._extend(self.to_mark())

    def _extend(self, values: list) -> None:
        if not isinstance(self.stack[-1], list):
            raise Refused("appends to what is no list")
        self.stack[-1].extend(values)

    def op_setitem(self, _):
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def op_setitems(self, _):
        self._set(self.to_mark())

    def _set(self, values: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refused("sets items of what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def op_memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def op_put(self, index):
        self.memo[index] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_get(self, index):
        self.stack.append(self.memo[index])

    op_binget = op_long_binget = op_get

    def op_global(self, argument):
        self.stack.append(self.find(*argument.split(" ", 1)))

    def op_stack_global(self, _):
        name, module = self.pop(), self.pop()
        self.stack.append(self.find(module, name))

    def op_reduce(self, _):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            raise Refused(f"calls {getattr(function, 'name', type(function).__name__)!s:.60}, which is plain data")
        self.stack.append(function.call(*arguments))

    op_newobj = op_reduce

    def op_build(self, _):
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, (Array, Dtype)):
            target.build(state)
        elif not isinstance(target, dict):  # a dict's state is the `_metadata` of a torch state dict
            raise Refused(f"sets the state of {type(target).__name__}, which is plain data")

    def op_binpersid(self, _):
        if self.persistent is None:
            raise Refused("refers to storages outside the pickle; is it a torch file?")
        self.stack.append(self.persistent(self.pop()))


def read_pkl(path: str | Path) -> Any:
    """The value in a `.pkl` of `jittor.save` or `pickle.dump`; arrays have `resolve()`.

    Raises UserError for a missing, truncated or altered file and for any name that is no plain data.
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
        value = Machine(JITTOR).run(stream)
        if stream.tell() != len(data):
            raise Refused(f"has {len(data) - stream.tell()} bytes after its pickle")
        return value


def write_pkl(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} as `jittor.save` does: protocol 4, SHA-1, magic word."""
    data = pickle.dumps(arrays, 4)
    with atomic(path) as temporary:
        temporary.write_bytes(data + hashlib.sha1(data).digest() + JITTOR_MAGIC)
