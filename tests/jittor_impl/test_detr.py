"""DETR in Jittor: names, shapes, freezing, masks, losses against formulas, and images of any size."""

import json
from pathlib import Path

import numpy as np
import pytest

from jittor_impl.framework import JittorFramework
from jittor_impl.models import build
from jittor_impl.models.detr.backbone import padding_mask
from jittor_impl.models.detr.criterion import SetCriterion, classification
from jittor_impl.models.detr.matcher import HungarianMatcher
from jittor_impl.models.detr.position import PositionEmbeddingSine
from jittor_impl.models.detr.postprocess import detections
from jittor_impl.models.detr.transformer import Transformer
from jittor_impl.runtime import jt
from jittor_impl.state import describe
from parity.config.models import model_config
from parity.data.draws import Draws
from parity.errors import UserError

KEYS = json.loads((Path(__file__).parents[1] / "golden/detr_r50/keys.json").read_text())["keys"]
SMALL = {"base_width": 8, "hidden_dim": 32, "heads": 4, "encoder_layers": 1, "ffn": 64, "num_queries": 6}
COSTS = {"class": 1.0, "bbox": 5.0, "giou": 2.0}


def options(variant=None, num_classes=3, **overrides):
    """Hyper-parameters of a variant; without one, of a very small model."""
    if variant is None:
        variant, overrides = "tiny", SMALL | overrides
    return model_config("detr", variant, num_classes, overrides).options


def framework(**overrides):
    made = JittorFramework("cpu", 1)
    made.seed(0)
    made.build("detr", options(**overrides))
    return made


def var(array):
    return jt.array(np.asarray(array, np.float32))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


# ---- names and freezing
def test_state_of_r50_is_the_official_one():
    infos = describe(build("detr", options("r50", 91)))
    assert [[t.name, list(t.shape), t.dtype, t.kind == "buffer"] for t in infos] == KEYS
    frozen = [t.name for t in infos if t.kind == "frozen"]
    assert len(frozen) == 11
    assert {name.split(".")[3] for name in frozen} == {"conv1", "layer1"}


@pytest.mark.parametrize(("variant", "blocks"), [("r101", 23), ("dc5_r50", 6)])
def test_other_variants_differ_in_the_third_stage_only(variant, blocks):
    shapes = {t.name: list(t.shape) for t in describe(build("detr", options(variant, 91)))}
    official = {name: shape for name, shape, _, _ in KEYS}
    assert {n: s for n, s in official.items() if shapes.get(n) != s} == {}
    more = set(shapes) - set(official)
    assert all(n.startswith("backbone.0.body.layer3.") for n in more)
    assert {int(n.split(".")[4]) for n in more} == set(range(6, blocks))


@pytest.mark.parametrize(("dilation", "size"), [(False, (3, 4)), (True, (5, 7))])
def test_dc5_keeps_the_size_of_the_third_stage(dilation, size):
    body = build("detr", options(depth=50, dilation=dilation)).backbone[0].body
    third = var(np.random.default_rng(0).random((1, body.layer3[0].conv3.out_channels, 5, 7)))
    assert tuple(body.layer4(third).shape[2:]) == size
    first, *others = [block.conv2 for block in body.layer4]
    assert (first.stride, first.dilation) == (((1, 1) if dilation else (2, 2)), (1, 1))
    assert {conv.dilation for conv in others} == {(2, 2) if dilation else (1, 1)}


def test_a_dilated_convolution_against_loops():
    conv = build("detr", options(depth=50, dilation=True)).backbone[0].body.layer4[1].conv2
    rng = np.random.default_rng(0)
    x, w = rng.random((1, conv.in_channels, 5, 6)), conv.weight.numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    want = sum(
        np.einsum("oc,bchw->bohw", w[:, :, i, j], padded[:, :, 2 * i : 2 * i + 5, 2 * j : 2 * j + 6])
        for i in range(3)
        for j in range(3)
    )
    assert np.allclose(conv(var(x)).numpy(), want, atol=1e-4)


def test_frozen_parts_stay_as_they_are_and_get_no_gradient(batch):
    fw = framework(frozen_stages=1, freeze_norm=True)
    before = fw.state()
    fw.forward_backward(batch(), Draws(0), 0)
    after = fw.state()
    assert all(np.array_equal(v, after[n]) for n, v in before.items())
    reached = fw.gradients()
    assert [t.name for t in fw.tensors() if t.kind == "parameter" and t.name not in reached] == []
    assert not any(n.startswith(("backbone.0.body.conv1.", "backbone.0.body.layer1.")) for n in reached)


def test_unknown_depth_and_pre_norm_are_named():
    with pytest.raises(UserError, match="depth: 20"):
        build("detr", options(depth=20))
    with pytest.raises(UserError, match="pre_norm: true"):
        build("detr", options(pre_norm=True))


# ---- padding
@pytest.mark.parametrize(("image", "places"), [((256, 320), (8, 10)), ((75, 109), (3, 4))])
def test_the_padding_mask_looks_at_the_nearest_pixel(image, places):
    sizes = np.array([image, (image[0] - 9, image[1] // 2), (1, 1)], np.int32)
    found = padding_mask(jt.array(sizes), image, places).numpy()
    for i, (h, w) in enumerate(sizes):
        rows, columns = (np.arange(p) * n // p for n, p in zip(image, places, strict=True))
        assert np.array_equal(found[i], (rows[:, None] >= h) | (columns >= w))


def test_positions_are_those_of_the_valid_part():
    mask = np.ones((1, 3, 5), bool)
    mask[:, :2, :4] = False
    table = PositionEmbeddingSine(4, 100.0)(jt.array(mask)).numpy()[0]
    for i in range(2):
        for j in range(4):
            y, x = (i + 1) / (2 + 1e-6) * 2 * np.pi, (j + 1) / (4 + 1e-6) * 2 * np.pi
            want = [f(a / t) for a in (y, x) for t in (1, 10) for f in (np.sin, np.cos)]
            assert np.allclose(table[:, i, j], want, atol=1e-5)


def test_nobody_looks_at_padding():
    rng = np.random.default_rng(0)
    transformer = Transformer(16, 2, 1, 2, 32, 0.0)
    features, query, position = rng.random((1, 16, 3, 4)), rng.random((5, 16)), rng.random((1, 16, 3, 4))
    mask = np.zeros((1, 3, 4), bool)
    mask[:, :, 3:] = True
    changed = np.where(mask[:, None], 7.0, features)
    one, other, without = (
        transformer(var(x), jt.array(m), var(query), var(position))[-1].numpy()
        for x, m in ((features, mask), (changed, mask), (changed, np.zeros_like(mask)))
    )
    assert np.allclose(one, other, atol=1e-6)
    assert not np.allclose(other, without, atol=1e-3)


def test_sizes_of_the_whole_image_are_the_default(batch):
    fw = framework()
    inputs = fw.to_device(batch((0, 0), (64, 96)))
    fw.model.eval()
    sizes = (inputs.sizes, None, jt.array(np.array([[64, 96], [32, 64]], np.int32)))
    given, default, padded = (fw.model(inputs.images, s)["main"]["boxes"].numpy() for s in sizes)
    assert np.array_equal(given, default)
    assert np.allclose(given[0], padded[0], atol=1e-6)
    assert not np.allclose(given[1], padded[1], atol=1e-4)


def test_dropout_follows_the_draws(batch):
    state, totals = framework().state(), []
    for key in (1, 1, 2):
        fw = framework(dropout=0.3)
        fw.load_state(state)
        totals.append(fw.forward_backward(batch(), Draws(key), 0).total)
    assert totals[0] == totals[1]
    assert totals[0] != totals[2]


# ---- losses
def test_classification_divides_by_the_sum_of_weights():
    rng = np.random.default_rng(0)
    logits, classes = rng.normal(size=(2, 3, 4)), np.array([[0, 3, 3], [2, 3, 1]])
    given, weights = var(logits), np.where(classes == 3, 0.1, 1.0)
    loss = classification(given, classes, 0.1)
    p = softmax(logits)
    want = -(weights * np.log(np.take_along_axis(p, classes[..., None], 2)[..., 0])).sum() / weights.sum()
    assert loss.item() == pytest.approx(want, rel=1e-5)
    gradient = weights[..., None] * (p - np.eye(4)[classes]) / weights.sum()
    assert np.allclose(jt.grad(loss, given).numpy(), gradient, atol=1e-6)


def test_matching_cost_is_the_formula():
    logits = np.array([[[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]]])
    boxes = var([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]]])
    wanted = np.array([[0.5, 0.5, 0.2, 0.2]], np.float32)
    cost = HungarianMatcher(COSTS).cost(var(logits), boxes, np.array([1]), wanted).numpy()
    p = softmax(logits)[0, :, 1]
    assert np.allclose(cost[0, :, 0], [-p[0] - 2, -p[1] + 5 * 0.4 - 2 * 0.25], atol=1e-6)


def test_losses_of_a_known_matching():
    logits = var([[[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])
    head = {"logits": logits, "boxes": var([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]])}
    criterion = SetCriterion(HungarianMatcher(COSTS), 0.1)
    truth = [np.array([[0.5, 0.5, 0.4, 0.2]], np.float32)], [np.array([0])]
    named, matches = criterion({"main": head, "aux": [head]}, *truth)
    assert list(named) == [f"loss_{kind}{suffix}" for suffix in ("", "_0") for kind in ("ce", "bbox", "giou")]
    assert [x.tolist() for x in matches["aux_0"][0]] == [[0], [0]]
    assert named["loss_bbox"].item() == pytest.approx(0.2)
    assert named["loss_giou_0"].item() == pytest.approx(0.5)
    assert named["loss_ce"].item() == pytest.approx(np.log(1 + 2 * np.exp(-9)), rel=1e-3)


def test_the_total_is_weighted_and_the_components_are_not(batch):
    result = framework(loss_weights={"ce": 3.0, "bbox": 5.0, "giou": 2.0}).forward_backward(batch(), Draws(0), 0)
    factors = {"ce": 3, "bbox": 5, "giou": 2}
    assert result.total == pytest.approx(sum(factors[n.split("_")[1]] * v for n, v in result.losses.items()), rel=1e-5)


def test_without_auxiliary_losses_only_the_last_layer_answers(batch):
    result = framework(aux_loss=False).forward_backward(batch(), Draws(0), 0, extras=True)
    assert list(result.losses) == ["loss_ce", "loss_bbox", "loss_giou"]
    assert not any(name.startswith("match/aux") for name in result.extras)


# ---- images without boxes, and of any size
@pytest.mark.parametrize("counts", [(0, 2), (0, 0), (0,)])
def test_images_without_boxes(batch, counts):
    fw = framework()
    result = fw.forward_backward(batch(counts), Draws(0), 0, extras=True)
    gradients = fw.gradients()
    assert np.isfinite(result.total)
    assert all(np.isfinite(g).all() for g in gradients.values())
    assert result.extras["match/aux_0/img0/src"].shape == (0,)
    assert (result.losses["loss_bbox"] == 0) == (sum(counts) == 0)
    assert result.losses["loss_ce"] > 0


@pytest.mark.parametrize("dilation", [False, True])
@pytest.mark.parametrize("size", [(75, 109), (33, 47)])
def test_one_image_of_an_odd_size(batch, size, dilation):
    fw = framework(depth=50, dilation=dilation, freeze_norm=True, frozen_stages=1)
    result = fw.forward_backward(batch((2,), size), Draws(0), 0)
    gradients = fw.gradients()
    assert np.isfinite(result.total)
    assert set(gradients) == {t.name for t in fw.tensors() if t.kind == "parameter"}
    assert all(np.isfinite(g).all() for g in gradients.values())
    inputs = fw.to_device(batch((0,), size))
    [found] = fw.postprocess(fw.forward(inputs), inputs)
    assert found.boxes.shape == (6, 4)
    assert np.isfinite(found.boxes).all()


def test_detections_have_the_best_real_class_and_pixels_of_the_given_size():
    logits = np.array([[[0.0, 2.0, 5.0], [3.0, 0.0, 0.0]]])
    boxes = var([[[0.5, 0.25, 0.2, 0.1], [0.5, 0.5, 1.0, 1.0]]])
    [found] = detections(var(logits), boxes, jt.array(np.array([[200, 100]], np.int32)))
    assert found.labels.tolist() == [1, 0]
    assert np.allclose(found.boxes[0], [40, 40, 60, 60], atol=1e-4)
    assert np.allclose(found.scores, softmax(logits)[0, [0, 1], [1, 0]], atol=1e-6)
