"""Places and boxes of dense detectors: the points that predictions belong to, and ATSS.

This is NumPy code that all frameworks share: an assignment decides by comparisons, and rounding may change their
outcome. Nothing here depends on what a network predicts.
"""

from collections.abc import Sequence

import numpy as np

from parity.data.iou import iou

INSIDE = 0.01  # pixels that a centre has to keep from a box's sides (official)


def level_points(shapes: Sequence[tuple[int, int]], strides: Sequence[int]) -> np.ndarray:
    """Upper left corners (x, y) of the cells of every level, float32 [N, 2] in pixels.

    shapes: (height, width) in cells per level. Level after level, rows from the top, each from the left.
    """
    points = []
    for (h, w), stride in zip(shapes, strides, strict=True):
        y, x = np.mgrid[:h, :w].astype(np.float32) * stride
        points.append(np.stack([x.ravel(), y.ravel()], 1))
    return np.concatenate(points)


def atss(
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    size: tuple[int, int],
    boxes: np.ndarray,
    candidates: int,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Adaptive training sample selection of one image (Zhang et al., CVPR 2020; mmdet ATSSAssigner).

    A square anchor of side `scale` * stride stands on every point of `level_points`. Candidates of a box are the
    `candidates` anchors per level whose centres are nearest to its centre. A candidate is positive if it overlaps the
    box by at least mean + deviation of all candidates and its centre lies inside the box. An anchor that several boxes
    want goes to the one that it overlaps most; equal distances and equal overlaps go to the lower index.

    size: (height, width) in pixels up to which anchors count, those beyond take no part; boxes [n, 4] xyxy pixels
    returns (assigned int64 [N], 0 or the number 1..n of the box; part bool [N], whether an anchor takes part)
    """
    points = level_points(shapes, strides).astype(np.float64)
    stride = np.repeat(np.asarray(strides, np.float64), [h * w for h, w in shapes])
    part = (points < np.array([size[1], size[0]])).all(1)
    assigned = np.zeros(len(points), np.int64)
    if not len(boxes):
        return assigned, part
    boxes = np.asarray(boxes, np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    places, first = [], 0
    for h, w in shapes:
        inside = first + np.flatnonzero(part[first : first + h * w])
        first += h * w
        distances = ((points[inside] - centres[:, None]) ** 2).sum(-1)
        places.append(inside[nearest(distances, min(candidates, len(inside)))])
    places = np.concatenate(places, 1)
    side = scale * stride[places][..., None] / 2
    anchors = np.concatenate([points[places] - side, points[places] + side], -1)
    overlap = iou(anchors, boxes[:, None])
    threshold = overlap.mean(1) + overlap.std(1, ddof=1)
    margins = np.concatenate([points[places] - boxes[:, None, :2], boxes[:, None, 2:] - points[places]], -1)
    positive = (overlap >= threshold[:, None]) & (margins.min(-1) > INSIDE)
    table = np.full((len(boxes), len(points)), -1.0)
    box, candidate = np.nonzero(positive)
    table[box, places[box, candidate]] = overlap[box, candidate]
    wanted = table.max(0) >= 0
    assigned[wanted] = table.argmax(0)[wanted] + 1
    return assigned, part


def nearest(distances: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` smallest values of each row of [n, m], smallest first, ties by place; int64 [n, count]."""
    if not count:
        return np.zeros((len(distances), 0), np.int64)
    limit = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
    row, place = np.nonzero(distances <= limit)  # a few more than `count` where several are equally far
    order = np.lexsort((place, distances[row, place], row))
    starts = np.searchsorted(row, np.arange(len(distances)))
    return place[order[starts[:, None] + np.arange(count)]]
