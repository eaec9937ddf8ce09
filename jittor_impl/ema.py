"""Exponential moving average of a model's whole state."""

from collections.abc import Iterator
from contextlib import contextmanager

from jittor_impl import ops
from jittor_impl.runtime import jt
from jittor_impl.state import entries

Var, nn = jt.Var, jt.nn


class EMA:
    """Starts as a copy.

    integers: average integer entries (`num_batches_tracked`) too, cut to whole numbers, as NanoDet-Plus officially
    does; otherwise they keep their first value, as in RT-DETR
    """

    def __init__(self, model: nn.Module, integers: bool = False):
        self.integers = integers
        self.values: dict[str, Var | int] = {
            name: entry.value if isinstance(entry.value, int) else jt.array(entry.value.numpy()).stop_grad()
            for name, entry in entries(model).items()
        }

    def update(self, model: nn.Module, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * value, for every floating entry, BatchNorm statistics included."""
        table = jt.array([decay, 1 - decay])
        with jt.no_grad():
            for name, entry in entries(model).items():
                if isinstance(entry.value, Var):
                    self.values[name] = ops.average(self.values[name], entry.value, decay, table)
                elif self.integers:
                    self.values[name] += int((entry.value - self.values[name]) * (1 - decay))
        jt.sync([value for value in self.values.values() if isinstance(value, Var)])

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """While inside, `model` carries the average; afterwards its own state again, whatever happened."""
        places = entries(model)
        own = {name: entry.value for name, entry in places.items()}
        for name, entry in places.items():
            setattr(entry.module, entry.key, self.values[name])
        try:
            yield
        finally:
            for name, entry in places.items():
                setattr(entry.module, entry.key, own[name])
