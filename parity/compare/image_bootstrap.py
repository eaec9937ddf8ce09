"""Bootstrap over images: of the AP difference between two sets of detections (paired), and of one set's AP.

pycocotools matches detections to ground truth once per image (`COCOeval.evaluate`). Then the images are resampled with
replacement, the same draw for both sets. An image drawn k times counts k times, as if the data held k copies of it.
With every weight 1 the number is COCOeval's AP to the last bit of float64 rounding; a test holds it to that.
"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from parity.files import read_json
from parity.train.evaluate import ground_truth

RECALLS = np.linspace(0.0, 1.0, 101)
BUDGET = 2e8  # matched detections x thresholds over all resamples, about 10 s of one core


@dataclass(frozen=True)
class ImageBootstrap:
    """AP of both sets and their difference `second - first`, all 0..1, with a percentile interval at 95 %."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    samples: int
    images: int
    identical: bool


@dataclass
class _Category:
    """Detections of one category over all images, best score first.

    image [D] index of the image, true [T, D] and false [T, D] per IoU threshold (ignored ones are neither),
    positives [I] ground truth boxes per image that count.
    """

    image: np.ndarray
    true: np.ndarray
    false: np.ndarray
    positives: np.ndarray


def compare(annotations: Path, first: Path, second: Path, samples: int = 1000, seed: int = 0) -> ImageBootstrap:
    """Bootstrap from a COCO annotation file and two files in COCO results format."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth(annotations)
        truth.createIndex()
    detections = [read_json(first), read_json(second)]
    sets = [_match(truth, entries) for entries in detections]
    images = len(truth.getImgIds())
    weights = np.ones(images)
    values = [average_precision(categories, weights) for categories in sets]
    work = sum(c.true.size for categories in sets for c in categories) + 1
    samples = int(np.clip(BUDGET / work, 100, samples))
    rng = np.random.default_rng(seed)
    differences = np.empty(samples)
    for i in range(samples):
        weights = np.bincount(rng.integers(0, images, images), minlength=images).astype(float)
        differences[i] = average_precision(sets[1], weights) - average_precision(sets[0], weights)
    low, high = np.nanquantile(differences, [0.025, 0.975]) if np.isfinite(differences).any() else (np.nan, np.nan)
    return ImageBootstrap(
        values[0],
        values[1],
        values[1] - values[0],
        float(low),
        float(high),
        samples,
        images,
        detections[0] == detections[1],
    )


def interval(annotations: Path, detections: Path, samples: int = 1000, seed: int = 0) -> tuple[float, float, int]:
    """Percentile interval at 95 % of the AP (0..1) of one set of detections, and how many resamples it comes from."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
    categories = _match(truth, read_json(detections))
    images = len(truth.getImgIds())
    samples = int(np.clip(BUDGET / (sum(c.true.size for c in categories) + 1), 100, samples))
    rng = np.random.default_rng(seed)
    values = [
        average_precision(categories, np.bincount(rng.integers(0, images, images), minlength=images).astype(float))
        for _ in range(samples)
    ]
    low, high = np.nanquantile(values, [0.025, 0.975]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high), samples


def _match(truth: COCO, entries: list[dict[str, Any]]) -> list[_Category]:
    """COCOeval's matching (all areas, at most 100 detections per image), regrouped by category."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(entries) if entries else COCO(), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    images, categories = len(evaluation.params.imgIds), len(evaluation.params.catIds)
    thresholds = len(evaluation.params.iouThrs)
    result = []
    for k in range(categories):
        cells = evaluation.evalImgs[k * images : (k + 1) * images]
        positives = np.zeros(images)
        index, scores, matched, ignored = [], [np.zeros(0)], [np.zeros((thresholds, 0))], [np.zeros((thresholds, 0))]
        for i, cell in enumerate(cells):
            if cell is None:
                continue
            positives[i] = np.count_nonzero(np.asarray(cell["gtIgnore"]) == 0)
            index += [i] * len(cell["dtScores"])
            scores.append(np.asarray(cell["dtScores"]))
            matched.append(cell["dtMatches"])
            ignored.append(cell["dtIgnore"])
        order = np.argsort(-np.concatenate(scores), kind="mergesort")  # COCOeval's order, ties included
        keep = ~np.concatenate(ignored, 1).astype(bool)[:, order]
        hit = np.concatenate(matched, 1).astype(bool)[:, order]
        result.append(_Category(np.asarray(index, int)[order], hit & keep, ~hit & keep, positives))
    return result


def average_precision(categories: list[_Category], weights: np.ndarray) -> float:
    """AP (0..1) when image i counts weights[i] times; NaN when no ground truth is left.

    101-point interpolation as in COCOeval.accumulate: precision made monotone from the right, read at each recall.
    """
    values = []
    for category in categories:
        positives = float(category.positives @ weights)
        if positives == 0:
            continue
        drawn = weights[category.image]
        true = np.cumsum(category.true * drawn, axis=1)
        false = np.cumsum(category.false * drawn, axis=1)
        precision = true / (true + false + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for recall, envelope in zip(true / positives, precision, strict=True):
            place = np.searchsorted(recall, RECALLS, side="left")
            reached = place < len(envelope)
            values.append(envelope[place[reached]].sum() / len(RECALLS))
    return float(np.mean(values)) if values else float("nan")
