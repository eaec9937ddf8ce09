"""Multiply-accumulates of a model, counted from the calls of its modules by one rule for every framework."""

from dataclasses import dataclass
from typing import Any


def flops(macs: int | None) -> int | None:
    """Floating-point operations: a multiply-accumulate is two. Papers use FLOPs for either of them."""
    return None if macs is None else 2 * macs


@dataclass
class MacCounter:
    """A hook that is called after every call of a module, as `counter(path, module, inputs, output)`.

    convolution, linear: the framework's classes; `total`: the sum so far.
    """

    convolution: type
    linear: type
    total: int = 0

    def __call__(self, path: str, module: Any, inputs: tuple, output: Any) -> None:
        self.total += self.of_call(module, inputs, output)

    def of_call(self, module: Any, inputs: tuple, output: Any) -> int:
        """Multiply-accumulates of one call of one module, without those of the modules inside it.

        Convolution: output elements * input channels per group * kernel area. Linear layer: output elements * input
        width. A module with arithmetic of its own, such as attention, gives its number in a method `macs(*inputs)`.
        Everything else (biases, norms, activations, sums, position tables, query selection) does not count.
        """
        if isinstance(module, self.convolution):
            return output.numel() * module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
        if isinstance(module, self.linear):
            return output.numel() * module.in_features
        return module.macs(*inputs) if hasattr(module, "macs") else 0
