"""Precision and recall of detections: the curves behind COCO's AP, and the score threshold with the best F1.

The curves are COCOeval's own numbers, so that the mean of a curve is the AP that is printed elsewhere. F1 comes from
COCOeval's matching at IoU .50: a detection counts when its score reaches the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pycocotools.cocoeval import COCOeval

RECALLS = np.linspace(0.0, 1.0, 101)  # where COCOeval reads the precision
EVERY = "all classes"


@dataclass(frozen=True)
class BestF1:
    """The score threshold with the highest F1 at IoU .50, and precision and recall there; all 0..1."""

    threshold: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Curve:
    """Precision of one class, or of all, at the 101 recalls of RECALLS; NaN where there is no object to find.

    at50 [101] at IoU .50; mean [101] over the IoUs .50, .55, ..., .95. `best` is None where no detection is right.
    """

    name: str
    objects: int
    at50: np.ndarray
    mean: np.ndarray
    best: BestF1 | None


@dataclass(frozen=True)
class Found:
    """Detections of one class at IoU .50 that count (those matched to crowds do not), and the number of objects.

    scores [D], right [D] whether the detection has an object of its own.
    """

    scores: np.ndarray
    right: np.ndarray
    objects: int


def curves(judge: COCOeval, names: Mapping[int, str]) -> list[Curve]:
    """The curve of all classes, then of every class. `names` maps a category id to its class.

    The precision of all classes is the mean over the classes that have objects, as in COCO's AP. Their F1 pools the
    detections of all classes, since one threshold is used for all.
    """
    precision = judge.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class]
    precision = np.where(precision < 0, np.nan, precision)
    found = [matched(judge, place) for place in range(len(judge.params.catIds))]
    pooled = Found(
        np.concatenate([np.zeros(0), *(f.scores for f in found)]),
        np.concatenate([np.zeros(0, bool), *(f.right for f in found)]),
        sum(f.objects for f in found),
    )
    rows = [_curve(EVERY, pooled, _mean_of_known(precision))]
    for place, category in enumerate(judge.params.catIds):
        rows.append(_curve(names[category], found[place], precision[:, :, place]))
    return rows


def _curve(name: str, found: Found, precision: np.ndarray) -> Curve:
    return Curve(name, found.objects, precision[0], precision.mean(axis=0), best_f1(found))


def _mean_of_known(precision: np.ndarray) -> np.ndarray:
    """[IoU, recall] mean of [IoU, recall, class] over the classes that have objects."""
    known = ~np.isnan(precision).all(axis=(0, 1))
    return precision[:, :, known].mean(axis=2) if known.any() else np.full(precision.shape[:2], np.nan)


def cells(judge: COCOeval, place: int) -> list[dict]:
    """COCOeval's matches of one class (by its place) on every image, objects of all sizes; images without any left out.

    COCOeval keeps them in one list: class by class, in each area by area, in each image by image.
    """
    images, areas = len(judge.params.imgIds), len(judge.params.areaRng)
    begin = place * areas * images
    return [cell for cell in judge.evalImgs[begin : begin + images] if cell is not None]


def matched(judge: COCOeval, place: int) -> Found:
    """The detections and objects of one class, as COCOeval matched them at IoU .50."""
    scores, right, objects = [np.zeros(0)], [np.zeros(0, bool)], 0
    for cell in cells(judge, place):
        counts = ~np.asarray(cell["dtIgnore"][0], bool)
        scores.append(np.asarray(cell["dtScores"], float)[counts])
        right.append(np.asarray(cell["dtMatches"][0], bool)[counts])
        objects += int(np.count_nonzero(np.asarray(cell["gtIgnore"]) == 0))
    return Found(np.concatenate(scores), np.concatenate(right), objects)


def best_f1(found: Found) -> BestF1 | None:
    """The best threshold, the highest one on a tie; None where no detection is right.

    F1 = 2 x right / (detections + objects). Only scores that occur need to be tried as thresholds.
    """
    if not found.right.any() or not found.objects:
        return None
    order = np.argsort(-found.scores, kind="stable")
    scores, right = found.scores[order], np.cumsum(found.right[order])
    kept = np.arange(1, len(scores) + 1)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # detections of one score go together
    f1 = 2 * right[last] / (kept[last] + found.objects)
    at = last[int(np.argmax(f1))]
    return BestF1(float(scores[at]), float(f1.max()), float(right[at] / kept[at]), float(right[at] / found.objects))
