"""Box arithmetic that several detectors share."""

from jittor_impl import ops
from jittor_impl.runtime import jt

Var = jt.Var


def cxcywh_to_xyxy(boxes: Var) -> Var:
    """[..., 4] (centre x, centre y, width, height) -> (left, top, right, bottom)."""
    cx, cy, w, h = boxes.unbind(-1)
    return jt.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], dim=-1)


def xyxy_to_cxcywh(boxes: Var) -> Var:
    """[..., 4] (left, top, right, bottom) -> (centre x, centre y, width, height)."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return jt.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=-1)


def area(boxes: Var) -> Var:
    """[..., 4] xyxy -> [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(a: Var, b: Var) -> Var:
    """Element-wise common area of xyxy boxes whose shapes broadcast; [..., 4] -> [...]."""
    low = ops.maximum(a[..., :2], b[..., :2])
    high = ops.minimum(a[..., 2:], b[..., 2:])
    return side_product(high - low)


def iou_and_union(a: Var, b: Var, eps: float = 0.0) -> tuple[Var, Var]:
    """Element-wise IoU and union, at least `eps`, of xyxy boxes whose shapes broadcast; [..., 4] -> [...] twice."""
    inter = intersection(a, b)
    union = area(a) + area(b) - inter
    if eps:
        union = ops.clamp(union, low=eps)
    return inter / union, union


def side_product(sides: Var) -> Var:
    """[..., 2] -> [...], negative sides counted as 0. (The gradient of Jittor's `prod` divides by the factors.)"""
    sides = ops.clamp(sides, low=0.0)
    return sides[..., 0] * sides[..., 1]


def generalized_iou(a: Var, b: Var, eps: float = 0.0) -> Var:
    """Element-wise GIoU (Rezatofighi et al., 2019) of xyxy boxes whose shapes broadcast; [..., 4] -> [...].

    With `eps`, union and hull are at least that, so that boxes without area give numbers.
    """
    iou, union = iou_and_union(a, b, eps)
    low = ops.minimum(a[..., :2], b[..., :2])
    high = ops.maximum(a[..., 2:], b[..., 2:])
    hull = side_product(high - low)
    if eps:
        hull = ops.clamp(hull, low=eps)
    return iou - (hull - union) / hull


def inverse_sigmoid(x: Var, eps: float = 1e-5) -> Var:
    """Logit of values that are first clipped to [0, 1]; neither side of the fraction gets below `eps`."""
    x = ops.clamp(x, 0.0, 1.0)
    return jt.log(ops.clamp(x, low=eps) / ops.clamp(1 - x, low=eps))
