"""NanoDet-Plus in PyTorch: names, shapes, the auxiliary part, losses against formulas, images without boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from parity.config.models import model_config
from parity.data.assign_dynamic import Positives
from parity.data.targets import Target
from parity.weights import formats
from torch_impl.boxes import generalized_iou
from torch_impl.framework import TorchFramework
from torch_impl.models import build
from torch_impl.models.nanodet.backbone import channel_shuffle

KEYS = json.loads((Path(__file__).parents[1] / "golden/nanodet-plus-m_320/keys.json").read_text())["keys"]
SMALL = {"stage_channels": [8, 16, 32, 32], "stage_repeats": [2, 2, 2], "channels": 16, "aux_convs": 1, "aux_groups": 4}
LOSSES = ["loss_qfl", "loss_bbox", "loss_dfl"]


def options(variant=None, num_classes=3, **overrides):
    """Hyper-parameters of a variant; without one, of a very small model."""
    if variant is None:
        variant, overrides = "tiny", SMALL | overrides
    return model_config("nanodet", variant, num_classes, overrides).options


def shapes(variant):
    with torch.device("meta"):
        return {name: list(t.shape) for name, t in build("nanodet", options(variant, 80)).state_dict().items()}


def targets(*boxes):
    """One image of 64 x 64 per argument, a list of boxes; the classes are 0, 1, 2, 0, ..."""
    return [Target(np.array(image, np.float32).reshape(-1, 4), np.arange(len(image)) % 3, (64, 64)) for image in boxes]


def small(epoch=0, **overrides):
    model = build("nanodet", options(**overrides)).train()
    model.epoch = epoch
    return model


def gradients(model, part):
    return [p.grad for p in getattr(model, part).parameters()]


SOME = ([[4, 4, 40, 44], [20, 10, 60, 60]], [[8, 2, 30, 62]])
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


# ---- names and shapes
def test_state_dict_of_plus_m_is_the_official_one():
    with torch.device("meta"):
        model = build("nanodet", options("plus-m_320", 80))
    parameters = dict(model.named_parameters())
    found = [
        [name, list(t.shape), str(t.dtype).removeprefix("torch."), name not in parameters]
        for name, t in model.state_dict().items()
    ]
    assert found == KEYS
    assert all(p.requires_grad for p in parameters.values())


def test_the_input_size_changes_no_shape():
    assert shapes("plus-m_416") == shapes("plus-m_320") and shapes("plus-m-1.5x_416") == shapes("plus-m-1.5x_320")


def test_one_and_a_half_times_the_width():
    """The same names; stages of 176, 352 and 704 channels, 128 in the neck and twice that in the auxiliary head."""
    narrow, wide = {name: shape for name, shape, _, _ in KEYS}, shapes("plus-m-1.5x_320")
    assert list(wide) == list(narrow)
    width = {58: 88, 116: 176, 232: 352, 464: 704, 96: 128, 192: 256, 48: 64}
    for name, shape in narrow.items():
        assert wide[name] == [width.get(n, n) for n in shape], name
    without_auxiliary = [n for n in wide if not n.startswith("aux_") and not n.endswith("num_batches_tracked")]
    count = sum(int(np.prod(wide[n])) for n in without_auxiliary if "running" not in n and "project" not in n)
    assert round(count / 1e6, 2) == 2.48  # published as 2.44 M


def test_places_follow_the_predictions():
    model = small().eval()
    with torch.no_grad():
        outputs = model(torch.rand(1, 3, 96, 64))
    strides, counts = outputs["strides"].unique(return_counts=True)
    assert strides.tolist() == [8, 16, 32, 64] and counts.tolist() == [96, 24, 6, 2]
    assert outputs["preds"].shape == (1, 128, 3 + 32) and "aux_preds" not in outputs
    assert outputs["points"][1].tolist() == [8, 0] and outputs["points"][-1].tolist() == [0, 64]


def test_channels_of_both_halves_take_turns():
    a, b = torch.arange(6.0).reshape(2, 1, 3, 1, 1)
    assert channel_shuffle(a, b).flatten().tolist() == [0, 3, 1, 4, 2, 5]


# ---- the auxiliary part
@pytest.mark.parametrize(("epoch", "detached"), [(0, False), (9, False), (10, True), (50, True)])
def test_auxiliary_losses_reach_the_rest_until_they_are_detached(epoch, detached):
    model = small(epoch, detach_epoch=10)
    named = model.losses(model(IMAGES, None, targets(*SOME)), targets(*SOME)).named
    sum(value for name, value in named.items() if name.startswith("aux_")).backward()
    for part in ("backbone", "fpn"):
        found = gradients(model, part)
        assert all((g is None) == detached for g in found)
        assert detached or all(g.any() for g in found if g.ndim > 1)
    assert all(g.any() for part in ("aux_fpn", "aux_head") for g in gradients(model, part) if g.ndim > 1)
    assert all(g is None for g in gradients(model, "head"))


def test_detaching_changes_no_loss():
    losses = []
    for epoch in (0, 10):
        torch.manual_seed(3)
        model = small(epoch, detach_epoch=10)
        losses.append(model.losses(model(IMAGES, None, targets(*SOME)), targets(*SOME)).total.item())
    assert losses[0] == losses[1]


# ---- losses
@pytest.mark.parametrize(
    "boxes", [([], []), ([[1, 1, 7, 7]], []), ([[8, 8, 8, 40]], [[70, 70, 90, 90]])], ids=["none", "small", "outside"]
)
def test_images_without_positives(boxes):
    """No box, or none that holds a place: only the classes are learnt, and every parameter has a gradient."""
    model, truth = small(), targets(*boxes)
    losses = model.losses(model(IMAGES, None, truth), truth)
    losses.total.backward()
    assert list(losses.named) == LOSSES + [f"aux_{name}" for name in LOSSES]
    for name, value in losses.named.items():
        assert value > 0 if name.endswith("qfl") else value == 0
    assert not any(assigned.any() for assigned in losses.matches.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_image_without_boxes_among_others():
    model, truth = small(), targets(SOME[0], [])
    losses = model.losses(model(IMAGES, None, truth), truth)
    assert losses.matches["assign/img0"].max() == 2 and not losses.matches["assign/img1"].any()
    assert all(torch.isfinite(value) and value > 0 for value in losses.named.values())


def test_losses_are_the_formulas_place_by_place():
    """Focal cross-entropy with the IoU over all places; GIoU and bins weighted by the best class, normalised by it."""
    model, truth = small(), targets(*SOME)
    outputs = model(IMAGES, None, truth)
    losses = model.losses(outputs, truth)
    judge = model.decode(outputs["aux_preds"], outputs)
    positives = model.criterion.assign(judge, outputs["points"], truth)[1]
    head = model.decode(outputs["preds"], outputs)
    qfl = bbox = dfl = norm = 0.0
    chosen = {(int(i), int(n)): k for k, (i, n) in enumerate(zip(positives.image, positives.place, strict=True))}
    for i, n in np.ndindex(*head.logits.shape[:2]):
        p, quality = head.logits[i, n].sigmoid().double(), torch.zeros(3, dtype=torch.float64)
        k = chosen.get((i, n))
        if k is not None:
            quality[positives.labels[k]] = positives.quality[k].double()
        entropy = -(quality * p.log() + (1 - quality) * (1 - p).log())
        qfl += ((quality - p) ** 2 * entropy).sum() / len(chosen)
        if k is None:
            continue
        weight = p.max().detach()
        norm += weight
        bbox += weight * (1 - generalized_iou(head.boxes[i, n], positives.boxes[k], 1e-6))
        x, y = outputs["points"][n]
        left, top, right, bottom = positives.boxes[k]
        stride = outputs["strides"][n]
        for side, distance in enumerate((x - left, y - top, right - x, bottom - y)):
            target = (distance / stride).clamp(0, 7 - 0.1).item()
            log_p = head.distributions[i, n].double().reshape(4, 8)[side].log_softmax(0)
            low = int(target)
            dfl -= weight * ((low + 1 - target) * log_p[low] + (target - low) * log_p[low + 1])
    norm = max(norm.item(), 1.0)
    assert losses.named["loss_qfl"].item() == pytest.approx(qfl.item(), rel=1e-4)
    assert losses.named["loss_bbox"].item() == pytest.approx(2 * bbox.item() / norm, rel=1e-4)
    assert losses.named["loss_dfl"].item() == pytest.approx(0.25 * dfl.item() / (4 * norm), rel=1e-4)
    assert losses.total.item() == pytest.approx(sum(value.item() for value in losses.named.values()), rel=1e-6)


def test_distances_stay_inside_the_bins():
    """A place outside its box looks at 0, one far inside at just below the last bin."""
    points, strides = torch.tensor([[0.0, 0.0], [100.0, 100.0]]), torch.tensor([8.0, 8.0])
    boxes = torch.tensor([[8.0, -16.0, 24.0, 4.0], [0.0, 92.0, 200.0, 124.0]])
    positives = Positives(torch.zeros(2).long(), torch.arange(2), boxes, torch.zeros(2).long(), torch.ones(2))
    found = small().criterion.distances(positives, points, strides)
    assert torch.allclose(found, torch.tensor([[0, 2, 3, 0.5], [6.9, 1, 6.9, 3]]))


# ---- detections
def test_detections_are_clipped_scored_and_suppressed_class_by_class():
    model = small(score_threshold=0.3).eval()
    count = 64 + 16 + 4 + 1
    preds = torch.full((1, count, 3 + 32), -20.0)
    preds[0, :, 3:] = 0
    bins = preds[0, :, 3:].unflatten(-1, (4, 8))
    for place, score, distances in ((0, 2.0, [0, 0, 4, 4]), (1, 1.0, [1, 0, 3, 4]), (63, 0.0, [2, 2, 5, 5])):
        preds[0, place, :2] = torch.tensor([score, -0.5])
        for side, distance in enumerate(distances):
            bins[place, side, distance] = 60.0
    preds[0, :, 3:] = bins.flatten(1)
    outputs = {"preds": preds} | model.places(torch.zeros(1, 3, 64, 64))
    (found,) = model.detect(outputs, torch.tensor([[64, 64]]))
    first, last = [0.0, 0.0, 32.0, 32.0], [40.0, 40.0, 64.0, 64.0]
    assert found.labels.tolist() == [0, 0, 1, 1] and found.boxes.tolist() == [first, last, first, last]
    expected = torch.tensor([2.0, 0.0, -0.5, -0.5]).sigmoid()
    assert torch.allclose(found.scores, expected)
    (none,) = small(score_threshold=0.99).eval().detect(outputs, torch.tensor([[64, 64]]))
    assert none.boxes.shape == (0, 4) and none.scores.shape == none.labels.shape == (0,)


# ---- files and averages
def test_released_checkpoints_give_the_average(tmp_path):
    framework = TorchFramework("cpu", 1)
    framework.build("nanodet", options())
    model, average = framework.state(), {name: value + 1 for name, value in framework.state().items()}
    both = {f"model.{k}": torch.from_numpy(v) for k, v in model.items()}
    both |= {f"avg_model.{k}": torch.from_numpy(np.asarray(v)) for k, v in average.items()}
    torch.save({"state_dict": both, "epoch": 300, "pytorch-lightning_version": "1.4.0"}, tmp_path / "released.pth")
    loaded = formats.read(tmp_path / "released.pth")
    framework.load_state(loaded)
    assert set(loaded) == set(model)
    assert all(np.array_equal(value, average[name]) for name, value in framework.state().items())


@pytest.mark.parametrize(("integers", "counted"), [(False, 0), (True, 6)])
def test_average_of_counted_batches(integers, counted):
    framework = TorchFramework("cpu", 1)
    framework.build("nanodet", options())
    framework.start_ema(integers)
    name = "backbone.conv1.1.num_batches_tracked"
    framework.model.state_dict()[name].fill_(10)
    framework.update_ema(0.75)  # 2.5 cut to 2
    framework.update_ema(0.5)  # 6
    assert framework.ema_state()[name] == counted and framework.ema_state()[name].dtype == np.int64
