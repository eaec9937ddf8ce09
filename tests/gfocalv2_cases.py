"""Inputs of the GFocalV2 tests of both frameworks, and what every training step has to satisfy."""

import json
from pathlib import Path

import numpy as np
import pytest

from parity.framework import Batch, Framework, StepResult

KEYS = json.loads((Path(__file__).parent / "golden/gfocalv2_r50_fpn/keys.json").read_text())["keys"]
SMALL = {"base_width": 8, "fpn_channels": 16, "head_channels": 16, "stacked_convs": 1, "norm_groups": 4}


def batch_of(boxes: list, sizes=((64, 64), (64, 64))) -> Batch:
    """Two images of noise in a frame of 64 x 64 pixels with the given boxes each, all of class 1."""
    counts = np.array([len(b) for b in boxes], np.int64)
    flat = np.array([box for image in boxes for box in image], np.float32).reshape(-1, 4)
    images = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    return Batch(images, np.array(sizes, np.int64), flat, np.ones(len(flat), np.int64), counts)


def step(framework: Framework, batch: Batch) -> tuple[StepResult, dict[str, np.ndarray]]:
    """One forward and backward pass: every parameter has a finite gradient, the total is the sum of the losses."""
    result = framework.forward_backward(batch, None, 0, extras=True)
    gradients = framework.gradients()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert set(gradients) == {t.name for t in framework.tensors() if t.kind == "parameter"}
    assert sum(result.losses.values()) == pytest.approx(result.total, rel=1e-5)
    return result, gradients


def maps(scores: dict, distances: dict, classes: int = 3, bins: int = 9) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Raw outputs of two levels (4 x 4 at stride 8, 2 x 2 at stride 16), one image: scores and distances by place.

    scores: {(level, y, x): {class: score}}; distances: {(level, y, x): (left, top, right, bottom) in strides}
    """
    score = [np.zeros((1, classes, side, side), np.float32) for side in (4, 2)]
    logit = [np.zeros((1, 4, bins, side, side), np.float32) for side in (4, 2)]
    for (level, y, x), values in scores.items():
        for label, value in values.items():
            score[level][0, label, y, x] = value
    for (level, y, x), sides in distances.items():
        for side, value in enumerate(sides):
            logit[level][0, side, value, y, x] = 50.0
    return score, [x.reshape(1, -1, *x.shape[3:]) for x in logit]


def largest_probabilities(logits: np.ndarray, bins: int, top: int, mean: bool) -> np.ndarray:
    """What GFocalV2's quality predictor gets of logits [N, 4 * bins, H, W], by sorting."""
    p = np.exp(logits.reshape(len(logits), 4, bins, *logits.shape[2:]))
    best = -np.sort(-p / p.sum(2, keepdims=True), axis=2)[:, :, :top]
    if mean:
        best = np.concatenate([best, best.mean(2, keepdims=True)], 2)
    return best.reshape(len(logits), -1, *logits.shape[2:])
