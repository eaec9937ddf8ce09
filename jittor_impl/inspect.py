"""Looking into a model while it runs: the output of every module, and the work it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from jittor_impl.runtime import jt
from jittor_impl.state import named_modules, to_arrays
from parity.align.layers import Recorder
from parity.measure.macs import MacCounter

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


@contextmanager
def record_layers(
    model: nn.Module, inputs: bool = False, feed: dict[str, np.ndarray] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """See `parity.framework.Framework.record_layers`. Modules take positional arguments here.

    The arrays exist once the block is left. Until then operators stay lazy, as they are without recording.
    """
    recorded: dict[str, np.ndarray] = {}
    kept: dict[str, Var] = {}

    def like(array: np.ndarray, var: Var) -> Var:
        return jt.array(array).cast(var.dtype)

    with hooked(model, Recorder(Var, kept.__setitem__, like, inputs, feed)):
        yield recorded
    recorded.update(to_arrays(kept))


def count_macs(model: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-accumulates of everything that `run` makes `model` do, by the rule of `parity.measure.macs`."""
    counter = MacCounter(nn.Conv2d, nn.Linear)
    with hooked(model, counter):
        run()
    return counter.total
