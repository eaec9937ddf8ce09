"""A model's state as NumPy arrays under official names, and back.

Jittor's own `state_dict` takes running statistics for parameters and has no `num_batches_tracked`. Here modules say
which of their attributes are `buffers`; every other Var is a parameter, and the order is PyTorch's: a module's
parameters, its buffers, then its children. A Var has no rank 0: parameters that officially are scalars are named in
their module's `scalars`, have shape [1] inside Jittor and shape [] outside.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jittor_impl.runtime import jt
from parity.errors import UserError
from parity.framework import TensorInfo

Var, nn = jt.Var, jt.nn


class Entry(NamedTuple):
    """One entry of the state: the attribute `key` of `module`, a Var or (`num_batches_tracked`) an int."""

    module: nn.Module
    key: str
    is_buffer: bool

    @property
    def value(self) -> Var | int:
        return getattr(self.module, self.key)

    @property
    def shape(self) -> tuple[int, ...]:
        """The official shape."""
        scalar = isinstance(self.value, int) or self.key in getattr(self.module, "scalars", ())
        return () if scalar else tuple(self.value.shape)

    @property
    def kind(self) -> str:
        """ "parameter", "frozen" or "buffer"."""
        if self.is_buffer:
            return "buffer"
        return "frozen" if self.value.is_stop_grad() else "parameter"


def children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of what lies directly inside, in the order of definition."""
    inside = module.layers if isinstance(module, nn.Sequential) else vars(module)
    for name, child in inside.items():
        if isinstance(child, nn.Module):
            yield str(name), child


def named_modules(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(official path, module) of `module` itself, "", and of everything inside."""
    yield path, module
    for name, child in children(module):
        yield from named_modules(child, f"{path}.{name}" if path else name)


def entries(model: nn.Module) -> dict[str, Entry]:
    """Every entry by its official name, in the official order."""
    found = {}
    for path, module in named_modules(model):
        buffers = getattr(module, "buffers", ())
        parameters = [k for k, v in vars(module).items() if isinstance(v, Var) and k not in buffers]
        for key in (*parameters, *buffers):
            found[f"{path}.{key}" if path else key] = Entry(module, key, key in buffers)
    return found


def parameters(model: nn.Module) -> dict[str, Var]:
    """Trainable parameters by name."""
    return {name: entry.value for name, entry in entries(model).items() if entry.kind == "parameter"}


def running(model: nn.Module) -> list[Var]:
    """Buffers that training changes. They are lazy, so they have to be computed once per step."""
    return [e.value for e in entries(model).values() if e.is_buffer and isinstance(e.value, Var)]


def describe(model: nn.Module) -> list[TensorInfo]:
    """Every entry of the state in its order."""
    return [
        TensorInfo(name, entry.shape, "int64" if isinstance(entry.value, int) else str(entry.value.dtype), entry.kind)
        for name, entry in entries(model).items()
    ]


def to_arrays(values: dict[str, Var | int]) -> dict[str, np.ndarray]:
    """Copies, with one synchronisation; integers as int64."""
    names = [name for name, value in values.items() if isinstance(value, Var)]
    fetched = dict(zip(names, jt.fetch_sync([values[name] for name in names]), strict=True))
    arrays = {}
    for name, value in values.items():
        array = np.array(fetched.get(name, value))
        arrays[name] = array.astype(np.int64) if array.dtype.kind == "i" else array
    return arrays


def official(model: nn.Module, values: dict[str, Var | int]) -> dict[str, np.ndarray]:
    """`to_arrays` of values that belong to entries of the state, with the official shapes."""
    shapes = {name: entry.shape for name, entry in entries(model).items()}
    return {name: array.reshape(shapes[name]) for name, array in to_arrays(values).items()}


def check(infos: list[TensorInfo], arrays: dict[str, np.ndarray], what: str) -> None:
    """Raise UserError naming the first missing, unknown, wrongly shaped or wrongly typed array."""
    names = {info.name for info in infos}
    missing = [info.name for info in infos if info.name not in arrays]
    if missing:
        raise UserError(f"{what}: {missing[0]} is missing, and {len(missing) - 1} more of {len(infos)} entries")
    unknown = [name for name in arrays if name not in names]
    if unknown:
        raise UserError(f"{what}: {unknown[0]} is not an entry of the model, and {len(unknown) - 1} more are not")
    for info in infos:
        array = np.asarray(arrays[info.name])
        if array.shape != info.shape:
            raise UserError(f"{what}: {info.name} has shape {list(array.shape)}, the model needs {list(info.shape)}")
        if (array.dtype.kind == "f") != (info.dtype == "float32"):
            raise UserError(f"{what}: {info.name} is {array.dtype}, the model needs {info.dtype}")


def copy_into(model: nn.Module, arrays: dict[str, np.ndarray], what: str) -> None:
    """Overwrite the whole state with `arrays`; raises UserError, before anything is written, if they do not fit."""
    check(describe(model), arrays, what)
    for name, entry in entries(model).items():
        if isinstance(entry.value, int):
            setattr(entry.module, entry.key, int(arrays[name]))
        else:
            entry.value.assign(jt.array(np.asarray(arrays[name], np.float32)))
