"""The ground truth of a batch in the form that the losses use: NumPy arrays, one set for each image.

It stays on the host until a loss needs it. Matching, noising and assignment run there, once for every framework.
"""

from typing import NamedTuple

import numpy as np

from parity.framework import Batch


class Target(NamedTuple):
    """Ground truth of one image: boxes [n, 4] xyxy pixels of the preprocessed image, labels [n] int64, size (h, w)."""

    boxes: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]


def batch_targets(batch: Batch, dtype: type[np.floating] = np.float32) -> list[Target]:
    """The targets of a batch, image by image; boxes in the float type that the model computes in."""
    return [
        Target(boxes.astype(dtype, copy=False), labels, (int(size[0]), int(size[1])))
        for (boxes, labels), size in zip(batch.targets(), batch.sizes, strict=True)
    ]


def normalised(targets: list[Target]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes [n, 4] as cxcywh in 0..1 of the valid image, and labels [n]; per image."""
    boxes = []
    for target in targets:
        h, w = target.size
        boxes.append(xyxy_to_cxcywh(target.boxes) / np.array([w, h, w, h], target.boxes.dtype))
    return boxes, [target.labels for target in targets]


def cxcywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """[..., 4] (centre x, centre y, width, height) -> (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:] * boxes.dtype.type(0.5)
    return np.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_cxcywh(boxes: np.ndarray) -> np.ndarray:
    """[..., 4] (left, top, right, bottom) -> (centre x, centre y, width, height)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)
