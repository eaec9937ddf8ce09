"""Exponential moving average of a model's whole state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """Starts as a copy.

    integers: average integer entries (`num_batches_tracked`) too, cut to whole numbers, as NanoDet-Plus officially
    does; otherwise they keep their first value, as in RT-DETR
    """

    def __init__(self, model: nn.Module, integers: bool = False):
        self.integers = integers
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * value, for every floating entry, BatchNorm statistics included."""
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.tensors[name].mul_(decay).add_(value, alpha=1 - decay)
            elif self.integers:
                self.tensors[name] += ((value - self.tensors[name]).double() * (1 - decay)).long()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """While inside, `model` carries the average; afterwards its own state again, whatever happened."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.tensors)
        try:
            yield
        finally:
            model.load_state_dict(own)
