"""Looking into a model while it runs: the output of every module, and the work it does."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from jittor_impl.runtime import jt
from jittor_impl.state import named_modules, to_arrays

Var, nn = jt.Var, jt.nn


@contextmanager
def hooked(model: nn.Module, hook: Callable) -> Iterator[None]:
    """While inside, `hook(path, module, inputs, output)` is called after the forward of every module inside `model`.

    All modules are called through one method of their base class, which is wrapped here. (Jittor's own hooks cannot be
    removed without a trace.)
    """
    paths = {id(module): path for path, module in named_modules(model) if path}
    original = nn.Module.__call__

    def call(module, *inputs, **options):
        output = original(module, *inputs, **options)
        if id(module) in paths:
            hook(paths[id(module)], module, inputs, output)
        return output

    nn.Module.__call__ = call
    try:
        yield
    finally:
        nn.Module.__call__ = original


def vars_in(name: str, value: Any) -> Iterator[tuple[str, Var]]:
    """`name` for a Var; `name[i]` and `name[key]` for what tuples, lists and dicts hold, at any depth."""
    if isinstance(value, Var):
        yield name, value
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from vars_in(f"{name}[{i}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from vars_in(f"{name}[{key}]", item)


def fed(name: str, value: Any, feed: dict[str, np.ndarray]) -> Any:
    """`value` with every Var replaced by the array that `feed` has under its name (as in `vars_in`).

    Raises LookupError where there is none of that shape.
    """
    if isinstance(value, Var):
        array = feed.get(name)
        if array is None or array.shape != tuple(value.shape):
            raise LookupError(name)
        return jt.array(array).cast(value.dtype)
    if isinstance(value, tuple | list):
        items = [fed(f"{name}[{i}]", item, feed) for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: fed(f"{name}[{key}]", item, feed) for key, item in value.items()}
    return value


@contextmanager
def record_layers(
    model: nn.Module, inputs: bool = False, feed: dict[str, np.ndarray] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """See `parity.framework.Framework.record_layers`. Modules take positional arguments here.

    The arrays are there once the block is left: until then operators stay lazy and run as they do unobserved.
    """
    recorded: dict[str, np.ndarray] = {}
    kept: dict[str, Var] = {}
    calls: Counter[str] = Counter()
    feeding = False

    def keep(name: str, value: Any) -> None:
        kept.update(vars_in(name, value))

    def hook(path: str, module: nn.Module, given: tuple, output: Any) -> None:
        nonlocal feeding
        if feeding:  # what runs inside a module that is being fed is no call of the model's own
            return
        name = f"{path}#{calls[path]}" if calls[path] else path
        calls[path] += 1
        keep(name, output)
        if inputs:
            for i, value in enumerate(given):
                keep(f"{name}@in{i}", value)
        if feed is None:
            return
        try:
            replaced = [fed(f"{name}@in{i}", value, feed) for i, value in enumerate(given)]
        except LookupError:
            return
        feeding = True
        try:
            keep(f"{name}@fed", module(*replaced))
        finally:
            feeding = False

    with hooked(model, hook):
        yield recorded
    recorded.update(to_arrays(kept))


def module_macs(module: nn.Module, inputs: tuple, output) -> int:
    """Multiply-accumulates of one call of one module, without those of the modules inside it.

    Convolution: output elements * input channels per group * kernel area. Linear layer: output elements * input width.
    A module with arithmetic of its own says how much that is in a method `macs(*inputs)`: attention. Everything else
    (biases, norms, activations, sums, position tables, query selection) counts nothing.
    """
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return module.macs(*inputs) if hasattr(module, "macs") else 0


def count_macs(model: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-accumulates of everything that `run` makes `model` do, by `module_macs`."""
    total = 0

    def hook(path: str, module: nn.Module, inputs: tuple, output) -> None:
        nonlocal total
        total += module_macs(module, inputs, output)

    with hooked(model, hook):
        run()
    return total
