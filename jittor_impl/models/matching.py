"""One-to-one matching of queries and boxes (DETR, paper section 3.1), which DETR and RT-DETR share."""

from abc import ABC, abstractmethod

import numpy as np

from jittor_impl.boxes import cxcywh_to_xyxy, generalized_iou
from jittor_impl.runtime import jt
from parity.data.pairing import Match, match_costs, refuse_diverged

Var = jt.Var


class Matcher(ABC):
    """Matching of least cost = class * class cost + bbox * L1 - giou * GIoU; `costs` holds the three factors."""

    def __init__(self, costs: dict[str, float]):
        self.costs = costs

    @abstractmethod
    def class_cost(self, logits: Var, labels: Var) -> Var:
        """logits [B, Q, C], labels [M] -> [B, Q, M]."""

    def cost(self, logits: Var, boxes: Var, labels: np.ndarray, targets: np.ndarray) -> Var:
        """logits [B, Q, C], boxes [B, Q, 4]; labels [M], targets [M, 4] of all images; cxcywh in 0..1 -> [B, Q, M].

        Every image against every image's boxes: more arithmetic than needed, but a tenth of the operators.
        """
        with jt.no_grad():
            labels, targets = map(jt.array, (labels, targets))
            distance = (boxes.unsqueeze(2) - targets).abs().sum(-1)
            overlap = generalized_iou(cxcywh_to_xyxy(boxes).unsqueeze(2), cxcywh_to_xyxy(targets))
            of_class = self.class_cost(logits, labels)
            return self.costs["bbox"] * distance + self.costs["class"] * of_class - self.costs["giou"] * overlap

    def match(self, heads: list[dict], labels: list[np.ndarray], targets: list[np.ndarray]) -> list[list[Match]]:
        """heads: logits [B, Q, C] and boxes [B, Q, 4] each; labels and targets per image -> per head a Match per image.

        All heads at once, because a lazy framework has to stop and compute before the host can match. Raises UserError
        as `match_costs`.
        """
        counts = [len(x) for x in labels]
        if not sum(counts):
            nothing = np.zeros(0, np.int64)
            return [[(nothing, nothing) for _ in labels] for _ in heads]
        labels, targets, ends = np.concatenate(labels), np.concatenate(targets), np.cumsum(counts)
        costs = [self.cost(head["logits"], head["boxes"], labels, targets) for head in heads]
        fetched = jt.fetch_sync([*costs, *(head["logits"] for head in heads)])
        costs, logits = fetched[: len(heads)], fetched[len(heads) :]
        # On a processor without AVX-512 Jittor's sigmoid of NaN is 1e-13, so that the costs do not show it.
        refuse_diverged(logits)
        return [
            match_costs([image[:, end - n : end] for image, end, n in zip(head, ends, counts, strict=True)])
            for head in costs
        ]
