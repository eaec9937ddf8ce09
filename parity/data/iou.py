"""Intersection over union of boxes in NumPy, for boxes that are given by corners and by sides.

There are two functions because the area is computed from what is given. Corners that were made from sides would round,
and a comparison with a threshold may then turn out differently.
"""

import numpy as np

EPS = 1e-6  # square pixels, the least union of two boxes


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Element-wise IoU of xyxy boxes whose shapes broadcast, 0 without any area; [..., 4] -> [...]."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return inter / np.maximum(union, EPS)


def xywh_iou(first: np.ndarray, second: np.ndarray, pixel: float = 0.0) -> np.ndarray:
    """[N, M] IoU of boxes [N, 4] and [M, 4], both x, y, width, height; 0 without any area.

    `pixel` is added to every width and height.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    inner = np.clip(high - low + pixel, 0, None).prod(axis=2)
    union = (first[:, 2:] + pixel).prod(axis=1)[:, None] + (second[:, 2:] + pixel).prod(axis=1)[None] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
