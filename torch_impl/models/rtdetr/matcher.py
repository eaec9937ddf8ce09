"""Hungarian matching of queries and boxes (DETR; rtdetr_pytorch/src/zoo/rtdetr/matcher.py)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from parity.errors import UserError
from torch_impl.boxes import cxcywh_to_xyxy, generalized_iou

Match = tuple[Tensor, Tensor]  # places of queries, ascending, and the boxes they are matched to; both int64 [n]


class HungarianMatcher:
    """One-to-one matching of least cost = class * focal cost + bbox * L1 - giou * GIoU."""

    def __init__(self, costs: dict[str, float], alpha: float, gamma: float):
        self.costs, self.alpha, self.gamma = costs, alpha, gamma

    @torch.no_grad()
    def cost(self, logits: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Of one image: logits [Q, C], boxes [Q, 4], labels [n], targets [n, 4], boxes cxcywh in 0..1 -> [Q, n]."""
        p = logits.sigmoid()[:, labels]
        negative = (1 - self.alpha) * p**self.gamma * -(1 - p + 1e-8).log()
        positive = self.alpha * (1 - p) ** self.gamma * -(p + 1e-8).log()
        distance = (boxes[:, None] - targets[None]).abs().sum(-1)
        overlap = generalized_iou(cxcywh_to_xyxy(boxes)[:, None], cxcywh_to_xyxy(targets)[None])
        return (
            self.costs["bbox"] * distance + self.costs["class"] * (positive - negative) - self.costs["giou"] * overlap
        )

    def match(self, logits: Tensor, boxes: Tensor, labels: list[Tensor], targets: list[Tensor]) -> list[Match]:
        """logits [B, Q, C], boxes [B, Q, 4], labels and targets per image -> a Match per image.

        Raises UserError if the costs are not finite, which only a diverged training causes.
        """
        matches = []
        for i in range(len(labels)):
            cost = self.cost(logits[i], boxes[i], labels[i], targets[i]).cpu()
            if not torch.isfinite(cost).all():
                raise UserError("matching costs: not finite, the training diverged; a lower learning rate may help")
            matches.append(tuple(torch.from_numpy(x).to(boxes.device) for x in linear_sum_assignment(cost.numpy())))
        return matches
