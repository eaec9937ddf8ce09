"""Dynamic soft-label assignment of NanoDet-Plus (nanodet/model/head/assigner/dsl_assigner.py).

This is NumPy code that all frameworks share: it needs no gradient, and it decides by comparisons. It compares
predictions, so two frameworks agree here as far as their predictions do.
"""

from typing import NamedTuple

import numpy as np

from parity.data.iou import iou
from parity.data.targets import Target


class Positives(NamedTuple):
    """P places that have to predict a box: image and place [P], box [P, 4] pixels, label [P], quality (IoU) [P]."""

    image: np.ndarray
    place: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    quality: np.ndarray


def dynamic_soft_labels(
    points: np.ndarray,
    scores: np.ndarray,
    predicted: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    topk: int,
    iou_factor: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Which box every place of one image has to predict, and how well it does so already.

    points [N, 2], scores [N, C] class probabilities, predicted [N, 4] xyxy; boxes [n, 4] xyxy with labels [n].
    Returns (int64 [N]: 0 for background or 1 + the number of the box, float32 [N]: IoU with that box or 0).

    Candidates are the places strictly inside any box. A box takes as many of them as the sum of its `topk` largest IoUs
    says, at least one, those of least cost: soft-label focal cost + iou_factor * -log(IoU). It may take a place that
    lies in another box only. A place that several boxes take goes to the box that costs least of all.
    """
    assigned, overlaps = np.zeros(len(points), np.int64), np.zeros(len(points), np.float32)
    inside = (points[:, None] > boxes[None, :, :2]) & (points[:, None] < boxes[None, :, 2:])
    candidates = np.flatnonzero(inside.all(-1).any(-1)) if len(boxes) else np.zeros(0, np.int64)
    if not len(candidates):
        return assigned, overlaps
    ious = iou(predicted[candidates][:, None], boxes[None])
    cost = label_cost(scores[candidates], labels, ious) - iou_factor * np.log(ious + 1e-7)
    counts = np.maximum(1, np.sort(ious, axis=0)[::-1][:topk].sum(0).astype(np.int64))
    rank = np.argsort(np.argsort(cost, axis=0, kind="stable"), axis=0)
    taken = rank < counts
    several = taken.sum(1) > 1
    taken[several] = np.arange(len(boxes)) == cost[several].argmin(1)[:, None]
    positive = taken.any(1)
    chosen = taken[positive].argmax(1)
    assigned[candidates[positive]] = chosen + 1
    overlaps[candidates[positive]] = ious[positive, chosen]
    return assigned, overlaps


def label_cost(scores: np.ndarray, labels: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Quality focal loss of every place against every box: scores [V, C], labels [n], ious [V, n] -> [V, n].

    The target is the IoU at the box's class and 0 elsewhere. The loss of all classes as background is summed once; for
    each box the term of its own class is replaced.
    """
    p = scores.astype(np.float64)
    log_p, log_rest = (np.log(np.maximum(x, np.exp(-100.0))) for x in (p, 1 - p))  # as PyTorch bounds the logarithms
    background = -log_rest * p**2
    own, target = labels, ious.astype(np.float64)
    entropy = -(target * log_p[:, own] + (1 - target) * log_rest[:, own])
    return background.sum(1, keepdims=True) - background[:, own] + entropy * (target - p[:, own]) ** 2


def assign_images(
    points: np.ndarray,
    scores: np.ndarray,
    predicted: np.ndarray,
    targets: list[Target],
    topk: int,
    iou_factor: float,
) -> tuple[list[np.ndarray], Positives]:
    """`dynamic_soft_labels` of every image: scores [B, N, C] and predicted [B, N, 4] at the N points [N, 2].

    Returns per image int64 [N], 0 or 1 + the number of the assigned box, and all positive places of the batch.
    """
    found = [
        dynamic_soft_labels(points, score, box, target.boxes, target.labels, topk, iou_factor)
        for score, box, target in zip(scores, predicted, targets, strict=True)
    ]
    places = [np.flatnonzero(assigned) for assigned, _ in found]
    chosen = [assigned[place] - 1 for (assigned, _), place in zip(found, places, strict=True)]
    positives = Positives(
        np.repeat(np.arange(len(found)), [len(place) for place in places]),
        np.concatenate(places),
        np.concatenate([target.boxes[number] for target, number in zip(targets, chosen, strict=True)]),
        np.concatenate([target.labels[number] for target, number in zip(targets, chosen, strict=True)]),
        np.concatenate([overlaps[place] for (_, overlaps), place in zip(found, places, strict=True)]),
    )
    return [assigned for assigned, _ in found], positives
