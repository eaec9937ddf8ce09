"""Shared by GFocalV2 and NanoDet-Plus: boxes as distributions over distances, and their losses (GFL, Li et al., 2020).

Distances are those from a point to the left, top, right and bottom side of a box, in the unit of the caller.
"""

from jittor_impl import ops
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class Integral(nn.Module):
    """Expectation of a distribution over the distances 0..reg_max; `project` is a buffer, as officially."""

    buffers = ("project",)

    def __init__(self, reg_max: int):
        super().__init__()
        self.project = jt.arange(reg_max + 1).float32().stop_grad()

    def execute(self, logits: Var) -> Var:
        """[..., 4 * (reg_max + 1)], side after side -> [..., 4]."""
        bins = self.project.shape[0]
        # one product of two matrices: sums over the last axis are slow
        mean = jt.matmul(ops.softmax(logits.reshape([-1, bins])), self.project.reshape([bins, 1]))
        return mean.reshape([*logits.shape[:-1], 4])


class Scale(nn.Module):
    """One learnt factor. A Var has no rank 0, so the factor is shaped [1] and stored as the official scalar."""

    scalars = ("scale",)

    def __init__(self):
        super().__init__()
        self.scale = jt.ones(1)

    def execute(self, x: Var) -> Var:
        return ops.scaled(x, self.scale)


def distances_to_boxes(points: Var, distances: Var) -> Var:
    """points [..., 2], distances [..., 4] -> xyxy [..., 4]."""
    return jt.concat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def boxes_to_distances(points: Var, boxes: Var, limit: float) -> Var:
    """points [..., 2], boxes [..., 4] xyxy -> distances [..., 4] inside [0, limit]."""
    return ops.clamp(jt.concat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1), 0.0, limit)


def clip_boxes(boxes: Var, size: Var) -> Var:
    """xyxy [..., 4] inside the image of `size` [..., 2] (height, width)."""
    height, width = size.float32().unbind(-1)
    return ops.minimum(ops.clamp(boxes, low=0.0), jt.stack([width, height, width, height], dim=-1))


def distribution_focal_loss(logits: Var, target: Var) -> Var:
    """Cross-entropy with the two bins around the target, weighted by how near they are.

    logits [..., reg_max + 1], target [...] inside [0, reg_max) -> [...].
    """
    bins = jt.arange(logits.shape[-1]).float32()
    weights = ops.clamp(1 - (bins - target.unsqueeze(-1)).abs(), low=0.0).detach()
    return -(weights * nn.log_softmax(logits, dim=-1)).sum(-1)


def quality_focal_loss(probability: Var, quality: Var, beta: float) -> Var:
    """|quality - p|^beta * cross-entropy(p, quality), element-wise; both [..., C], the weight has a gradient too.

    quality: IoU at the class of an assigned box, 0 elsewhere; no gradient flows to it.
    """
    quality = quality.detach()
    return _distance_power(quality - probability, beta) * ops.bce(probability, quality)


def quality_focal_loss_with_logits(logits: Var, quality: Var, beta: float) -> Var:
    """`quality_focal_loss` of p = sigmoid(logits)."""
    quality = quality.detach()
    return _distance_power(quality - logits.sigmoid(), beta) * ops.bce_with_logits(logits, quality)


def _distance_power(difference: Var, beta: float) -> Var:
    """|difference|^beta; the official 2 without the slow general power."""
    return difference * difference if beta == 2 else ops.absolute(difference) ** beta
