"""Shared by GFocalV2 and NanoDet-Plus: boxes as distributions over distances, and their losses (GFL, Li et al., 2020).

Distances are those from a point to the left, top, right and bottom side of a box, in the unit of the caller.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Integral(nn.Module):
    """Expectation of a distribution over the distances 0..reg_max; `project` is a buffer, as officially."""

    def __init__(self, reg_max: int):
        super().__init__()
        self.register_buffer("project", torch.arange(reg_max + 1, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        """[..., 4 * (reg_max + 1)], side after side -> [..., 4]."""
        return logits.unflatten(-1, (4, -1)).softmax(-1) @ self.project


class Scale(nn.Module):
    """One learnt factor."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """points [..., 2], distances [..., 4] -> xyxy [..., 4]."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def boxes_to_distances(points: Tensor, boxes: Tensor, limit: float) -> Tensor:
    """points [..., 2], boxes [..., 4] xyxy -> distances [..., 4] inside [0, limit]."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1).clamp(0, limit)


def clip_boxes(boxes: Tensor, size: Tensor) -> Tensor:
    """xyxy [..., 4] inside the image of `size` [..., 2] (height, width)."""
    corner = size.flip(-1).to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), torch.cat([corner, corner], dim=-1))


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the two bins around the target, weighted by how near they are.

    logits [..., reg_max + 1], target [...] inside [0, reg_max) -> [...].
    """
    bins = torch.arange(logits.shape[-1], dtype=target.dtype, device=target.device)
    weights = (1 - (bins - target[..., None]).abs()).clamp(min=0)
    return -(weights * logits.log_softmax(-1)).sum(-1)


def quality_focal_loss(probability: Tensor, quality: Tensor, beta: float) -> Tensor:
    """|quality - p|^beta * cross-entropy(p, quality), element-wise; both [..., C], the weight has a gradient too.

    quality: IoU at the class of an assigned box, 0 elsewhere; no gradient flows to it.
    """
    return (quality - probability).abs() ** beta * F.binary_cross_entropy(probability, quality, reduction="none")


def quality_focal_loss_with_logits(logits: Tensor, quality: Tensor, beta: float) -> Tensor:
    """`quality_focal_loss` of p = sigmoid(logits)."""
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (quality - logits.sigmoid()).abs() ** beta * entropy
