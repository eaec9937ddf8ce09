"""NanoDet-Plus in Jittor: names, shapes, the auxiliary part, losses against formulas, images without boxes."""

import json
from pathlib import Path

import numpy as np
import pytest

from jittor_impl import ops
from jittor_impl.framework import JittorFramework
from jittor_impl.models import build
from jittor_impl.runtime import jt
from jittor_impl.state import describe, parameters
from parity.config.models import model_config
from parity.data.assign_dynamic import Positives
from parity.data.draws import Draws
from parity.data.targets import Target
from parity.framework import Batch
from parity.weights import formats

KEYS = json.loads((Path(__file__).parents[1] / "golden/nanodet-plus-m_320/keys.json").read_text())["keys"]
SMALL = {"stage_channels": [8, 16, 32, 32], "stage_repeats": [2, 2, 2], "channels": 16, "aux_convs": 1, "aux_groups": 4}
LOSSES = ["loss_qfl", "loss_bbox", "loss_dfl"]
SOME = ([[4, 4, 40, 44], [20, 10, 60, 60]], [[8, 2, 30, 62]])
IMAGES = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)


def options(variant=None, num_classes=3, **overrides):
    """Hyper-parameters of a variant; without one, of a very small model."""
    if variant is None:
        variant, overrides = "tiny", SMALL | overrides
    return model_config("nanodet", variant, num_classes, overrides).options


def targets(*boxes):
    """One image of 64 x 64 per argument, a list of boxes; the classes are 0, 1, 2, 0, ..."""
    return [Target(np.array(image, np.float32).reshape(-1, 4), np.arange(len(image)) % 3, (64, 64)) for image in boxes]


def small(epoch=0, **overrides):
    model = build("nanodet", options(**overrides)).train()
    model.epoch = epoch
    return model


def losses_of(model, truth):
    return model.losses(model(jt.array(IMAGES), None, truth), truth)


# ---- names and shapes
def test_state_of_plus_m_is_the_official_one():
    infos = describe(build("nanodet", options("plus-m_320", 80)))
    assert [[t.name, list(t.shape), t.dtype, t.kind == "buffer"] for t in infos] == KEYS
    assert not any(t.kind == "frozen" for t in infos)


def test_one_and_a_half_times_the_width():
    """The same names; stages of 176, 352 and 704 channels, 128 in the neck and twice that in the auxiliary head."""
    narrow = {name: shape for name, shape, _, _ in KEYS}
    wide = {t.name: list(t.shape) for t in describe(build("nanodet", options("plus-m-1.5x_320", 80)))}
    assert list(wide) == list(narrow)
    width = {58: 88, 116: 176, 232: 352, 464: 704, 96: 128, 192: 256, 48: 64}
    for name, shape in narrow.items():
        assert wide[name] == [width.get(n, n) for n in shape], name


def test_places_follow_the_predictions():
    with jt.no_grad():
        outputs = small().eval()(jt.rand(1, 3, 96, 64))
    strides, counts = np.unique(outputs["strides"].numpy(), return_counts=True)
    assert strides.tolist() == [8, 16, 32, 64] and counts.tolist() == [96, 24, 6, 2]
    assert outputs["preds"].shape == [1, 128, 3 + 32] and "aux_preds" not in outputs
    assert outputs["points"].numpy()[[1, -1]].tolist() == [[8, 0], [0, 64]]


# ---- the auxiliary part
@pytest.mark.parametrize(("epoch", "detached"), [(9, False), (10, True)])
def test_auxiliary_losses_reach_the_rest_until_they_are_detached(epoch, detached):
    model = small(epoch, detach_epoch=10)
    named = losses_of(model, targets(*SOME)).named
    auxiliary = sum(value for name, value in named.items() if name.startswith("aux_"))
    tensors = {name: p for name, p in parameters(model).items() if p.ndim > 1}
    found = dict(zip(tensors, jt.grad(auxiliary, list(tensors.values())), strict=True))
    moved = {name: bool(np.abs(gradient.numpy()).max() > 0) for name, gradient in found.items()}
    for part, reached in (("backbone.", not detached), ("fpn.", not detached), ("aux_", True), ("head.", False)):
        answers = {answer for name, answer in moved.items() if name.startswith(part)}
        assert answers == {reached}, part


# ---- losses
@pytest.mark.parametrize(
    "boxes", [([], []), ([[1, 1, 7, 7]], []), ([[8, 8, 8, 40]], [[70, 70, 90, 90]])], ids=["none", "small", "outside"]
)
def test_images_without_positives(boxes):
    """No box, or none that holds a place: only the classes are learnt, and every parameter has a gradient."""
    framework = JittorFramework("cpu", 1)
    framework.build("nanodet", options())
    counts = np.array([len(image) for image in boxes])
    stacked = np.concatenate([np.array(image, np.float32).reshape(-1, 4) for image in boxes])
    batch = Batch(IMAGES, np.full((2, 2), 64), stacked, np.zeros(len(stacked), np.int64), counts)
    result = framework.forward_backward(batch, Draws(0, 0, 0), 0, extras=True)
    assert list(result.losses) == LOSSES + [f"aux_{name}" for name in LOSSES]
    for name, value in result.losses.items():
        assert value > 0 if name.endswith("qfl") else value == 0
    assert not any(result.extras[f"assign/img{i}"].any() for i in range(2))
    gradients = framework.gradients()
    assert set(gradients) == {t.name for t in framework.tensors() if t.kind == "parameter"}
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_losses_are_the_formulas_place_by_place():
    """Focal cross-entropy with the IoU over all places; GIoU and bins weighted by the best class, normalised by it."""
    model, truth = small(), targets(*SOME)
    outputs = model(jt.array(IMAGES), None, truth)
    named = {name: value.item() for name, value in model.losses(outputs, truth).named.items()}
    judge, head = (model.decode(outputs[name], outputs) for name in ("aux_preds", "preds"))
    positives = model.criterion.assign(judge, outputs["points"], truth)[1]
    image, place, boxes, labels, quality = (part.numpy() for part in positives)
    logits, bins, found = (part.numpy().astype(np.float64) for part in head)
    points, strides = outputs["points"].numpy(), outputs["strides"].numpy()
    p, target = 1 / (1 + np.exp(-logits)), np.zeros_like(logits)
    target[image, place, labels] = quality
    entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    weight = p[image, place].max(-1)
    norm = max(weight.sum(), 1)
    a, b = found[image, place], boxes.astype(np.float64)
    inter = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - inter
    hull = (np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])).prod(-1)
    giou = inter / union - (hull - union) / hull
    log_p = bins[image, place].reshape(-1, 4, 8)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    sides = np.concatenate([points[place] - b[:, :2], b[:, 2:] - points[place]], 1) / strides[place][:, None]
    near = np.clip(1 - np.abs(np.arange(8) - np.clip(sides, 0, 6.9)[..., None]), 0, None)
    assert named["loss_qfl"] == pytest.approx(((target - p) ** 2 * entropy).sum() / len(place), rel=1e-4)
    assert named["loss_bbox"] == pytest.approx(2 * (weight * (1 - giou)).sum() / norm, rel=1e-4)
    dfl = -(weight[:, None] * (near * log_p).sum(-1)).sum() / (4 * norm)
    assert named["loss_dfl"] == pytest.approx(0.25 * dfl, rel=1e-4)


def test_distances_stay_inside_the_bins():
    """A place outside its box looks at 0, one far inside at just below the last bin."""
    points, strides = jt.array(np.array([[0, 0], [100, 100]], np.float32)), jt.array(np.array([8, 8], np.float32))
    boxes = jt.array(np.array([[8, -16, 24, 4], [0, 92, 200, 124]], np.float32))
    number = jt.array(np.array([0, 1], np.int32))
    found = small().criterion.distances(Positives(number * 0, number, boxes, number, jt.ones(2)), points, strides)
    np.testing.assert_allclose(found.numpy(), [[0, 2, 3, 0.5], [6.9, 1, 6.9, 3]], rtol=1e-6)


# ---- detections
def test_detections_are_clipped_scored_and_suppressed_class_by_class():
    model = small(score_threshold=0.3).eval()
    preds = np.full((1, 64 + 16 + 4 + 1, 3 + 32), -20.0, np.float32)
    bins = np.zeros((preds.shape[1], 4, 8), np.float32)
    for place, score, distances in ((0, 2.0, [0, 0, 4, 4]), (1, 1.0, [1, 0, 3, 4]), (63, 0.0, [2, 2, 5, 5])):
        preds[0, place, :2] = score, -0.5
        bins[place, range(4), distances] = 60.0
    preds[0, :, 3:] = bins.reshape(-1, 32)
    outputs = {"preds": jt.array(preds)} | model.places(jt.zeros((1, 3, 64, 64)))
    sizes = jt.array(np.array([[64, 64]], np.int32))
    (found,) = model.detect(outputs, sizes)
    first, last = [0, 0, 32, 32], [40, 40, 64, 64]
    assert found.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.boxes, [first, last, first, last], atol=1e-4)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-2.0, 0, 0.5, 0.5])), atol=1e-6)
    (none,) = small(score_threshold=0.99).eval().detect(outputs, sizes)
    assert none.boxes.shape == (0, 4) and none.scores.shape == none.labels.shape == (0,)


# ---- operators, files and averages
def test_stock_operators_give_the_same_predictions():
    model = small().eval()
    with jt.no_grad():
        fast = model(jt.array(IMAGES))["preds"].numpy()
        ops.use("stock")
        stock = model(jt.array(IMAGES))["preds"].numpy()
    np.testing.assert_allclose(fast, stock, atol=1e-4)


def test_released_checkpoints_give_the_average(tmp_path):
    framework = JittorFramework("cpu", 1)
    framework.build("nanodet", options())
    model, average = framework.state(), {name: np.asarray(value + 1) for name, value in framework.state().items()}
    both = {f"model.{k}": v for k, v in model.items()} | {f"avg_model.{k}": v for k, v in average.items()}
    formats.write(tmp_path / "released.pth", both)
    framework.load_state(formats.read(tmp_path / "released.pth"))
    assert all(np.array_equal(value, average[name]) for name, value in framework.state().items())


@pytest.mark.parametrize(("integers", "counted"), [(False, 0), (True, 6)])
def test_average_of_counted_batches(integers, counted):
    framework = JittorFramework("cpu", 1)
    framework.build("nanodet", options())
    framework.start_ema(integers)
    name = "backbone.conv1.1.num_batches_tracked"
    framework.load_state(framework.state() | {name: np.array(10)})
    framework.update_ema(0.75)  # 2.5 cut to 2
    framework.update_ema(0.5)  # 6
    assert framework.ema_state()[name] == counted and framework.ema_state()[name].dtype == np.int64
