"""Looking into a model while it runs: the output of every module, and the work it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from parity.align.layers import Recorder
from parity.measure.macs import MacCounter


@contextmanager
def hooked(model: nn.Module, hook: Callable) -> Iterator[None]:
    """While inside, `hook(path, module, inputs, output)` is called after the forward of every module inside `model`."""
    handles = [
        module.register_forward_hook(lambda m, i, o, path=path: hook(path, m, i, o))
        for path, module in model.named_modules()
        if path
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def out_of_place(model: nn.Module) -> Iterator[None]:
    """While inside, no module overwrites its input. Results keep their bits, and inputs what the module was given."""
    changed = [module for module in model.modules() if getattr(module, "inplace", False)]
    for module in changed:
        module.inplace = False
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True


@contextmanager
def record_layers(
    model: nn.Module, inputs: bool = False, feed: dict[str, np.ndarray] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """See `parity.framework.Framework.record_layers`. Modules take positional arguments here."""
    recorded: dict[str, np.ndarray] = {}

    def keep(name: str, tensor: Tensor) -> None:
        recorded[name] = tensor.detach().cpu().numpy().copy()

    def like(array: np.ndarray, tensor: Tensor) -> Tensor:
        return torch.from_numpy(array).to(tensor.device, tensor.dtype)

    with out_of_place(model), hooked(model, Recorder(Tensor, keep, like, inputs, feed)):
        yield recorded


def count_macs(model: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-accumulates of everything that `run` makes `model` do, by the rule of `parity.measure.macs`."""
    counter = MacCounter(nn.Conv2d, nn.Linear)
    with hooked(model, counter):
        run()
    return counter.total
