"""Looking into a model while it runs: the output of every module, and the work it does."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


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
def record_layers(model: nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """Outputs by path: `path` for a tensor, `path[i]` for element i of a tuple or list, `path#1` for a second call."""
    recorded: dict[str, np.ndarray] = {}
    calls: Counter[str] = Counter()

    def hook(path: str, module: nn.Module, inputs: tuple, output) -> None:
        name = f"{path}#{calls[path]}" if calls[path] else path
        calls[path] += 1
        parts = {name: output}
        if isinstance(output, tuple | list):
            parts = {f"{name}[{i}]": value for i, value in enumerate(output)}
        for key, value in parts.items():
            if isinstance(value, torch.Tensor):
                recorded[key] = value.detach().cpu().numpy().copy()

    with hooked(model, hook):
        yield recorded


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
