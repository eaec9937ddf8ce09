"""Hungarian matching of queries and boxes (DETR; rtdetr_pytorch/src/zoo/rtdetr/matcher.py)."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from jittor_impl.boxes import cxcywh_to_xyxy, generalized_iou
from jittor_impl.runtime import jt
from parity.errors import UserError

Var = jt.Var
Match = tuple[np.ndarray, np.ndarray]  # places of queries, ascending, and the boxes they are matched to; both int64 [n]


class HungarianMatcher:
    """One-to-one matching of least cost = class * focal cost + bbox * L1 - giou * GIoU."""

    def __init__(self, costs: dict[str, float], alpha: float, gamma: float):
        self.costs, self.alpha, self.gamma = costs, alpha, gamma

    def cost(self, logits: Var, boxes: Var, labels: np.ndarray, targets: np.ndarray) -> Var:
        """logits [B, Q, C], boxes [B, Q, 4]; labels [M], targets [M, 4] of all images; cxcywh in 0..1 -> [B, Q, M].

        Every image against every image's boxes: more arithmetic than needed, but a tenth of the operators.
        """
        with jt.no_grad():
            labels, targets = jt.array(labels.astype(np.int32)), jt.array(targets)
            p = logits.sigmoid()[:, :, labels]
            negative = (1 - self.alpha) * p**self.gamma * -(1 - p + 1e-8).log()
            positive = self.alpha * (1 - p) ** self.gamma * -(p + 1e-8).log()
            distance = (boxes.unsqueeze(2) - targets).abs().sum(-1)
            overlap = generalized_iou(cxcywh_to_xyxy(boxes).unsqueeze(2), cxcywh_to_xyxy(targets))
            return (
                self.costs["bbox"] * distance
                + self.costs["class"] * (positive - negative)
                - self.costs["giou"] * overlap
            )

    def match(self, heads: list[dict], labels: list[np.ndarray], targets: list[np.ndarray]) -> list[list[Match]]:
        """heads: logits [B, Q, C] and boxes [B, Q, 4] each; labels and targets per image -> per head a Match per image.

        All heads at once, because a lazy framework has to stop and compute before the host can match. Raises UserError
        if the costs are not finite, which only a diverged training causes.
        """
        counts = [len(x) for x in labels]
        ends = np.cumsum(counts)
        if ends[-1] == 0:
            nothing = np.zeros(0, np.int64)
            return [[(nothing, nothing) for _ in labels] for _ in heads]
        labels, targets = np.concatenate(labels), np.concatenate(targets)
        costs = jt.fetch_sync([self.cost(head["logits"], head["boxes"], labels, targets) for head in heads])
        if not all(np.isfinite(cost).all() for cost in costs):
            raise UserError("matching costs: not finite, the training diverged; a lower learning rate may help")
        return [
            [linear_sum_assignment(c[:, e - n : e]) for c, e, n in zip(cost, ends, counts, strict=True)]
            for cost in costs
        ]
