"""Exponential moving average of a model's whole state.

Not `torch.optim.swa_utils.AveragedModel`: its first update copies the model instead of averaging it, and its decay is
fixed, where here it may change from step to step.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """Starts as a copy.

    integers: average integer entries (`num_batches_tracked`) too, cut to whole numbers, as NanoDet-Plus officially
    does; otherwise they keep their first value, as in RT-DETR
    fused: let a few kernels average all entries; the last bits then differ from those of the plain loop
    """

    def __init__(self, model: nn.Module, integers: bool = False, fused: bool = False):
        self.integers, self.fused = integers, fused
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * value, for every floating entry, BatchNorm statistics included."""
        entries = model.state_dict()
        floating = [name for name, value in entries.items() if value.dtype.is_floating_point]
        if self.fused:
            torch._foreach_lerp_([self.tensors[n] for n in floating], [entries[n] for n in floating], 1 - decay)
        else:
            for name in floating:
                self.tensors[name].mul_(decay).add_(entries[name], alpha=1 - decay)
        if self.integers:
            for name in entries.keys() - set(floating):
                self.tensors[name] += ((entries[name] - self.tensors[name]).double() * (1 - decay)).long()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """While inside, `model` carries the average; afterwards its own state again, whatever happened."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.tensors)
        try:
            yield
        finally:
            model.load_state_dict(own)
