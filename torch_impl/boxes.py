"""Box arithmetic that several detectors share."""

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """[..., 4] (centre x, centre y, width, height) -> (left, top, right, bottom)."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """[..., 4] (left, top, right, bottom) -> (centre x, centre y, width, height)."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=-1)


def area(boxes: Tensor) -> Tensor:
    """[..., 4] xyxy -> [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Element-wise common area of xyxy boxes whose shapes broadcast; [..., 4] -> [...]."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    return (high - low).clamp(min=0).prod(-1)


def iou_and_union(a: Tensor, b: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Element-wise IoU and union, at least `eps`, of xyxy boxes whose shapes broadcast; [..., 4] -> [...] twice."""
    inter = intersection(a, b)
    union = area(a) + area(b) - inter
    if eps:
        union = union.clamp(min=eps)
    return inter / union, union


def generalized_iou(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """Element-wise GIoU (Rezatofighi et al., 2019) of xyxy boxes whose shapes broadcast; [..., 4] -> [...].

    With `eps`, union and hull are at least that, so that boxes without area give numbers.
    """
    iou, union = iou_and_union(a, b, eps)
    low = torch.minimum(a[..., :2], b[..., :2])
    high = torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).clamp(min=0).prod(-1)
    if eps:
        hull = hull.clamp(min=eps)
    return iou - (hull - union) / hull


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of values that are first clipped to [0, 1]; neither side of the fraction gets below `eps`."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
