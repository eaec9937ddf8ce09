"""What the timing beside another implementation checks before it times. Nothing is timed here."""

from types import SimpleNamespace

import pytest
import torch
from level import Loop, same_loss, take_weights, trained
from torch import nn

from parity.config.train import OptimizerConfig
from parity.framework import TensorInfo


class Ours:
    """A framework that has two parameters."""

    def __init__(self, names: tuple[str, ...] = ("weight", "bias")):
        self.arrays = {name: torch.full(((1, 2) if name == "weight" else (1,)), 3.0).numpy() for name in names}

    def tensors(self) -> list[TensorInfo]:
        return [TensorInfo(name, array.shape, "float32", "parameter") for name, array in self.arrays.items()]

    def state(self) -> dict:
        return self.arrays


def test_the_other_side_takes_our_weights():
    module = nn.Linear(2, 1)
    take_weights(module, Ours())
    assert module.weight.tolist() == [[3, 3]] and module.bias.tolist() == [3]


@pytest.mark.parametrize(("names", "said"), [(("weight",), "bias"), (("weight", "bias", "scale"), "scale")])
def test_a_parameter_of_one_side_only_ends_the_script(names, said):
    with pytest.raises(SystemExit, match=f"one side only: {said}$"):
        take_weights(nn.Linear(2, 1), Ours(names))


def test_losses_that_differ_end_the_script():
    assert same_loss(4.508473, 4.508474) == "loss of the first batch: 4.508473 here, 4.508474 there"
    with pytest.raises(SystemExit, match="not the same work"):
        same_loss(2.37256, 2.37555)
    with pytest.raises(SystemExit, match="not the same work"):
        same_loss(float("nan"), float("nan"))


def test_what_stands_still_is_counted_apart():
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    assert trained(module) == (3, 2)


def test_a_step_trains_and_averages():
    module = nn.Linear(2, 1)
    take_weights(module, Ours())
    peer = SimpleNamespace(module=module, loss=lambda batch: module(batch).sum())
    settings = OptimizerConfig(kind="SGD", lr=0.5, weight_decay=0.0, momentum=0.9)
    ema = SimpleNamespace(decay=0.5, warmups=1e-3, offset=0)
    loop = Loop(SimpleNamespace(train=SimpleNamespace(optimizer=settings, clip_norm=None, ema=ema)), peer)
    loop.step(1, torch.tensor([[1.0, 2.0]]))
    assert module.weight.tolist() == [[2.5, 2.0]] and module.bias.tolist() == [2.5]
    assert loop.average[0].tolist() == [[2.75, 2.5]]
