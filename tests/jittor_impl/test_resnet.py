"""ResNet in Jittor: names, sizes, freezing."""

import numpy as np
import pytest

from jittor_impl.layers import EvalBatchNorm2d, FrozenBatchNorm2d
from jittor_impl.models.resnet import ResNet
from jittor_impl.runtime import jt
from jittor_impl.state import copy_into, describe, entries, to_arrays
from parity.files import digest

# SHA-256 of the [name, shape, dtype] lists of torchvision's state dicts, without the classifier.
OFFICIAL = {
    50: "7f5c7bf0e786a82e6c10ed5b809788899554dc16843dc8278f7dd228eb6c34bd",
    101: "de8accbbcb47b41ed3286d4ab03fd582b0646037e2ea93760b360aec3d72f292",
}


def images(count=1, size=(64, 64)):
    return jt.array(np.random.default_rng(0).random((count, 3, *size), dtype=np.float32))


def state(model):
    return to_arrays({name: entry.value for name, entry in entries(model).items()})


@pytest.mark.parametrize("depth", OFFICIAL)
def test_names_and_shapes_are_torchvisions(depth):
    assert digest([[t.name, list(t.shape), t.dtype] for t in describe(ResNet(depth))]) == OFFICIAL[depth]


@pytest.mark.parametrize(("depth", "factor"), [(18, 1), (34, 1), (50, 4)])
def test_stages_halve_the_size_and_double_the_channels(depth, factor):
    model = ResNet(depth, base_width=8, return_idx=(1, 2, 3))
    maps = model(images(size=(75, 109)))
    assert model.out_channels == [16 * factor, 32 * factor, 64 * factor]
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16 * factor, 10, 14), (32 * factor, 5, 7), (64 * factor, 3, 4)
    ]  # fmt: skip


@pytest.mark.parametrize(("stages", "frozen"), [(-1, ()), (0, ("conv1", "bn1")), (1, ("conv1", "bn1", "layer1"))])
def test_frozen_stages(stages, frozen):
    model = ResNet(18, base_width=8, frozen_stages=stages)
    assert {t.name.split(".")[0] for t in describe(model) if t.kind == "frozen"} == set(frozen)


def test_norms_with_stored_statistics_are_trained_but_keep_them():
    model = ResNet(18, base_width=8, norm=EvalBatchNorm2d)
    before = state(model)
    out = model(images(2))[-1]
    assert np.abs(jt.grad(out.sum(), model.layer4[1].bn2.weight).numpy()).sum() > 0
    assert all(np.array_equal(v, before[n]) for n, v in state(model).items())
    frozen = ResNet(18, base_width=8, norm=FrozenBatchNorm2d)
    copy_into(frozen, {n: v for n, v in before.items() if "num_batches" not in n}, "weights")
    assert np.allclose(frozen(images(2))[-1].numpy(), out.numpy(), atol=1e-5)
