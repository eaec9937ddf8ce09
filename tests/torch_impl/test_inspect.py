"""Looking into a model whose activations overwrite their inputs: the same bits, and inputs as they were given."""

import numpy as np
import pytest
import torch
from torch import nn

from parity.config.models import model_config
from parity.data.draws import Draws
from torch_impl.framework import TorchFramework
from torch_impl.inspect import hooked, out_of_place, record_layers


def overwriting(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if getattr(module, "inplace", False)]


@pytest.mark.parametrize("model", ["rtdetr", "detr", "gfocalv2", "nanodet"])
def test_overwriting_changes_no_bit_of_losses_outputs_and_gradients(model, batch):
    framework = TorchFramework("cpu", 1, {})
    framework.build(model, model_config(model, "tiny", 3).options)
    assert len(overwriting(framework.model)) >= 5
    start, given = framework.state(), batch()

    def bits() -> dict[str, np.ndarray]:
        framework.load_state(start)
        framework.model.zero_grad()
        losses = framework.forward_backward(given, Draws(0, 1), 0).losses
        gradients = {n: p.grad.numpy().copy() for n, p in framework.model.named_parameters() if p.grad is not None}
        outputs = framework.raw_outputs(framework.forward(framework.to_device(given)))
        return {n: np.array(v) for n, v in losses.items()} | gradients | outputs

    first = bits()
    with out_of_place(framework.model):
        assert not overwriting(framework.model)
        second = bits()
    assert overwriting(framework.model)
    assert first.keys() == second.keys() and len(first) > 50
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


def test_the_recorded_input_is_what_the_activation_was_given():
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Conv2d(1, 1, 1), nn.LeakyReLU(0.5, inplace=True)))
    model[1][0].weight.data.fill_(1)
    model[1][0].bias.data.fill_(-2)
    image = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    with record_layers(model, inputs=True) as recorded:
        model(image)
    assert recorded["1.1@in0"].ravel().tolist() == [-2, 2]
    assert recorded["1.1"].ravel().tolist() == [-1, 2]
    overwritten = {}
    with hooked(model, lambda path, module, inputs, output: overwritten.update({path: inputs[0].tolist()})):
        model(image)
    assert overwritten["1.1"] == [[[[-1, 2]]]]  # without the precaution
