"""How far two lists of detections agree: pairs of detections, and those without a partner in the other list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from parity.data.iou import xywh_iou

OVERLAP = 0.5  # intersection over union from which two boxes of one class may be partners


@dataclass
class Agreement:
    """Counts over all images, and the largest differences of partners: of a score, and of a box corner in pixels.

    whole: images in which every detection has a partner.
    """

    images: int
    matched: int
    first_only: int
    second_only: int
    score: float
    box: float
    whole: int

    def line(self, first: str, second: str) -> str:
        """One sentence for the terminal and the report."""
        if not self.matched + self.first_only + self.second_only:
            return f"no detections in {self.images} images: nothing was compared"
        return (
            f"{self.images} images: {self.matched} detections in both, {self.first_only} in {first} only,"
            f" {self.second_only} in {second} only; largest difference of partners: score {self.score:.2g},"
            f" box {self.box:.2g} pixels"
        )


def agreement(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], images: int) -> Agreement:
    """Pair two lists in COCO results format, class by class on each of `images` images, by largest overlap."""
    groups: dict[tuple, tuple[list, list]] = {}
    for side, entries in enumerate((first, second)):
        for entry in entries:
            groups.setdefault((entry["image_id"], entry["category_id"]), ([], []))[side].append(entry)
    result = Agreement(images, 0, 0, 0, 0.0, 0.0, 0)
    torn = set()  # images with a detection that has no partner
    for (image, _), (one, two) in groups.items():
        pairs = partners([e["bbox"] for e in one], [e["bbox"] for e in two])
        if not len(one) == len(two) == len(pairs):
            torn.add(image)
        result.matched += len(pairs)
        result.first_only += len(one) - len(pairs)
        result.second_only += len(two) - len(pairs)
        for i, j in pairs:
            result.score = max(result.score, abs(one[i]["score"] - two[j]["score"]))
            result.box = max(result.box, float(np.abs(_corners(one[i]) - _corners(two[j])).max()))
    result.whole = images - len(torn)
    return result


def _corners(entry: Mapping[str, Any]) -> np.ndarray:
    x, y, width, height = entry["bbox"]
    return np.asarray([x, y, x + width, y + height])


def partners(first: Sequence, second: Sequence, overlap: float = OVERLAP) -> list[tuple[int, int]]:
    """Pairs (i, j) of boxes [x, y, w, h] with the largest sum of overlaps; each overlaps by `overlap` at least."""
    if not len(first) or not len(second):
        return []
    ious = xywh_iou(np.asarray(first, np.float64), np.asarray(second, np.float64))
    rows, columns = linear_sum_assignment(np.where(ious >= overlap, ious, 0.0), maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if ious[i, j] >= overlap]
