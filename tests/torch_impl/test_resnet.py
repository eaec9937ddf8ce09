"""ResNet in PyTorch: names, sizes, freezing."""

import pytest
import torch

from parity.files import digest
from torch_impl.layers import EvalBatchNorm2d, FrozenBatchNorm2d
from torch_impl.models.resnet import ResNet

# SHA-256 of the [name, shape, dtype] lists of torchvision's state dicts, without the classifier.
OFFICIAL = {
    50: "7f5c7bf0e786a82e6c10ed5b809788899554dc16843dc8278f7dd228eb6c34bd",
    101: "de8accbbcb47b41ed3286d4ab03fd582b0646037e2ea93760b360aec3d72f292",
}


@pytest.mark.parametrize("depth", OFFICIAL)
def test_names_and_shapes_are_torchvisions(depth):
    with torch.device("meta"):
        state = ResNet(depth).state_dict()
    assert (
        digest([[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in state.items()]) == OFFICIAL[depth]
    )


@pytest.mark.parametrize(("depth", "factor"), [(18, 1), (34, 1), (50, 4)])
def test_stages_halve_the_size_and_double_the_channels(depth, factor):
    model = ResNet(depth, base_width=8, return_idx=(1, 2, 3))
    maps = model(torch.rand(1, 3, 75, 109))
    assert model.out_channels == [16 * factor, 32 * factor, 64 * factor]
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16 * factor, 10, 14), (32 * factor, 5, 7), (64 * factor, 3, 4)
    ]  # fmt: skip


@pytest.mark.parametrize(("stages", "frozen"), [(-1, ()), (0, ("conv1", "bn1")), (1, ("conv1", "bn1", "layer1"))])
def test_frozen_stages(stages, frozen):
    model = ResNet(18, base_width=8, frozen_stages=stages)
    assert {n.split(".")[0] for n, p in model.named_parameters() if not p.requires_grad} == set(frozen)


def test_norms_with_stored_statistics_are_trained_but_keep_them():
    model = ResNet(18, base_width=8, norm=EvalBatchNorm2d).train()
    before = {n: t.clone() for n, t in model.named_buffers()}
    images = torch.rand(2, 3, 64, 64)
    out = model(images)[-1]
    out.sum().backward()
    assert all(torch.equal(t, before[n]) for n, t in model.named_buffers())
    assert model.layer4[1].bn2.weight.grad.abs().sum() > 0
    frozen = ResNet(18, base_width=8, norm=FrozenBatchNorm2d)
    frozen.load_state_dict({n: t for n, t in model.state_dict().items() if "num_batches" not in n})
    assert torch.allclose(frozen(images)[-1], out, atol=1e-5)
