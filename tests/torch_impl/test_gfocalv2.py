"""GFocalV2: what the official numbers do not show. Images without boxes, tiny boxes, padding, ties, decoding."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from parity.config import model_config
from parity.framework import Batch
from torch_impl.framework import TorchFramework
from torch_impl.models.gfocalv2.head import top_statistics
from torch_impl.models.gfocalv2.postprocess import best_places, detections

KEYS = json.loads((Path(__file__).parents[1] / "golden/gfocalv2_r50_fpn/keys.json").read_text())["keys"]
SMALL = {"base_width": 8, "fpn_channels": 16, "head_channels": 16, "stacked_convs": 1, "norm_groups": 4}
RNG = np.random.default_rng(0)


@pytest.fixture
def framework():
    """framework(variant, **overrides): a very small model unless a variant is named."""

    def make(variant: str | None = None, num_classes: int = 3, **overrides) -> TorchFramework:
        overrides = overrides if variant else SMALL | overrides
        made = TorchFramework("cpu", 1)
        made.seed(0)
        made.build("gfocalv2", model_config("gfocalv2", variant or "tiny", num_classes, overrides)["options"])
        return made

    return make


def batch_of(boxes: list, sizes=((64, 64), (64, 64))) -> Batch:
    """Two images of noise in a frame of 64 x 64 pixels with the given boxes each, all of class 1."""
    counts = np.array([len(b) for b in boxes], np.int64)
    flat = np.array([box for image in boxes for box in image], np.float32).reshape(-1, 4)
    images = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    return Batch(images, np.array(sizes, np.int64), flat, np.ones(len(flat), np.int64), counts)


def step(framework, batch):
    result = framework.forward_backward(batch, None, 0, extras=True)
    gradients = framework.gradients()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert set(gradients) == {t.name for t in framework.tensors() if t.kind == "parameter"}
    assert sum(result.losses.values()) == pytest.approx(result.total, rel=1e-5)
    return result, gradients


@pytest.mark.parametrize("boxes", [[[], []], [[[9, 9, 12, 12]], []]], ids=["no boxes", "smaller than a stride"])
def test_without_a_positive_only_the_scores_have_a_loss(framework, boxes):
    result, gradients = step(framework(), batch_of(boxes))
    assert result.losses["loss_cls"] > 0
    assert result.losses["loss_bbox"] == result.losses["loss_dfl"] == 0
    assert not result.extras["assign/img0"].any() and not result.extras["assign/img1"].any()
    assert np.abs(gradients["bbox_head.gfl_reg.weight"]).max() > 0  # through the quality


def test_an_image_without_boxes_beside_one_with_boxes(framework):
    result, _ = step(framework(), batch_of([[], [[8, 8, 56, 56], [0, 0, 30, 20]]]))
    assert not result.extras["assign/img0"].any()
    assert set(result.extras["assign/img1"]) == {0, 1, 2}
    assert result.losses["loss_bbox"] > 0 and result.losses["loss_dfl"] > 0
    for name, value in result.losses.items():
        parts = [result.extras[f"loss/{name}/lvl{i}"] for i in range(5)]
        assert sum(parts) == pytest.approx(value, rel=1e-5)


def test_padding_has_no_class_loss(framework):
    """Cells beyond the size, rounded up to 32, take no part: their scores get no gradient."""
    made = framework()
    made.model.train()
    batch = batch_of([[[2, 2, 30, 30]], []], sizes=((64, 64), (40, 20)))
    outputs = made.model(torch.from_numpy(batch.images))
    for scores in outputs["scores"]:
        scores.retain_grad()
    made.model.losses(outputs, made._targets(batch)).total.backward()
    gradient = outputs["scores"][0].grad.abs().amax(1)
    assert (gradient[0] > 0).all()
    assert (gradient[1, :8, :4] > 0).all() and not gradient[1, :, 4:].any()


def test_names_shapes_and_frozen_parameters_are_official(framework):
    tensors = framework("r50_fpn", 80).tensors()
    assert [[t.name, list(t.shape), t.dtype, t.kind == "buffer"] for t in tensors] == KEYS
    frozen = {t.name for t in tensors if t.kind == "frozen"}
    first = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
    assert frozen == {t.name for t in tensors if t.name.startswith(first) and t.kind != "buffer"} and len(frozen) == 33


def test_running_statistics_stand_still_only_with_norm_eval(framework):
    for norm_eval in (True, False):
        made = framework(norm_eval=norm_eval)
        before = made.state()["backbone.layer2.0.bn1.running_mean"]
        step(made, batch_of([[[8, 8, 56, 56]], []]))
        assert (before == made.state()["backbone.layer2.0.bn1.running_mean"]).all() == norm_eval


def test_statistics_are_the_largest_probabilities_of_each_side():
    logits = RNG.normal(size=(2, 4 * 6, 3, 2)).astype(np.float32)
    p = np.exp(logits.reshape(2, 4, 6, 3, 2))
    top = -np.sort(-p / p.sum(2, keepdims=True), axis=2)[:, :, :3]
    with_mean = np.concatenate([top, top.mean(2, keepdims=True)], 2)
    for mean, want in ((False, top), (True, with_mean)):
        got = top_statistics(torch.from_numpy(logits), 6, 3, mean)
        assert np.allclose(got, want.reshape(2, -1, 3, 2), atol=1e-6)


def maps(scores: dict, distances: dict, classes: int = 3, bins: int = 9):
    """Raw outputs of two levels (4 x 4 at stride 8, 2 x 2 at stride 16), one image: scores and distances by place."""
    score = [np.zeros((1, classes, 4, 4), np.float32), np.zeros((1, classes, 2, 2), np.float32)]
    logit = [np.zeros((1, 4, bins, 4, 4), np.float32), np.zeros((1, 4, bins, 2, 2), np.float32)]
    for (level, y, x), values in scores.items():
        for label, value in values.items():
            score[level][0, label, y, x] = value
    for (level, y, x), sides in distances.items():
        for side, value in enumerate(sides):
            logit[level][0, side, value, y, x] = 50.0
    return [torch.from_numpy(s) for s in score], [torch.from_numpy(x).flatten(1, 2) for x in logit]


def decode(framework, scores, logits, size=(32, 32), limit=100):
    integral = framework(reg_max=8).model.bbox_head.integral
    rest = {"nms_pre": 1000, "threshold": 0.05, "nms_iou": 0.6, "limit": limit}
    found = detections(scores, logits, torch.tensor([size]), integral, [8, 16], **rest)
    return [part.tolist() for part in found[0]]


def test_decoding_by_hand(framework):
    """Distances are strides from a cell's corner; boxes are clipped to (height, width); every class counts apart."""
    place, coarse = (0, 1, 2), (1, 1, 0)
    scores = {place: {0: 0.9, 1: 0.3, 2: 0.05}, coarse: {0: 0.5, 1: 0.4}}
    distances = {place: (1, 1, 1, 2), coarse: (0, 1, 1, 1)}
    boxes, values, labels = decode(framework, *maps(scores, distances), size=(22, 32))
    first, second = [8.0, 0.0, 24.0, 22.0], [0.0, 0.0, 16.0, 22.0]
    assert np.allclose(boxes, [first, second, second, first], atol=1e-4)
    assert values == pytest.approx([0.9, 0.5, 0.4, 0.3]) and labels == [0, 0, 1, 1]
    assert decode(framework, *maps(scores, distances), limit=1)[1] == pytest.approx([0.9])


def test_nothing_above_the_threshold(framework):
    boxes, values, labels = decode(framework, *maps({(0, 0, 0): {0: 0.05}}, {}))
    assert boxes == values == labels == []


def test_levels_with_too_many_places_keep_the_best_and_the_lower_of_equals():
    best = torch.tensor([0.1, 0.5, 0.5, 0.2, 0.5, 0.3, 0.9, 0.8])
    assert best_places(best, [(2, 3), (1, 2)], 3).tolist() == [1, 2, 4, 6, 7]
    assert best_places(best, [(2, 3), (1, 2)], 1).tolist() == [1, 6]
