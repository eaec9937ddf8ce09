"""One-to-one matching of queries and boxes (DETR, paper section 3.1), which DETR and RT-DETR share."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from jittor_impl.boxes import cxcywh_to_xyxy, generalized_iou
from jittor_impl.models.interface import Target
from jittor_impl.runtime import jt
from parity.errors import UserError

Var = jt.Var
Match = tuple[np.ndarray, np.ndarray]  # places of queries, ascending, and the boxes they are matched to; both int64 [n]


class Pairs(NamedTuple):
    """Matched pairs of a batch: image [M] and query [M], and what the query should be: boxes [M, 4], classes [M].

    NumPy, because all of it is known on the host; integers are int32, which is what Jittor has.
    """

    image: np.ndarray
    query: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


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
            labels, targets = jt.array(labels.astype(np.int32)), jt.array(targets)
            distance = (boxes.unsqueeze(2) - targets).abs().sum(-1)
            overlap = generalized_iou(cxcywh_to_xyxy(boxes).unsqueeze(2), cxcywh_to_xyxy(targets))
            of_class = self.class_cost(logits, labels)
            return self.costs["bbox"] * distance + self.costs["class"] * of_class - self.costs["giou"] * overlap

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


def normalised(targets: list[Target]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes as cxcywh in 0..1 of the valid image, and labels; per image."""
    boxes = []
    for target in targets:
        h, w = target.size
        low, high = target.boxes[:, :2], target.boxes[:, 2:]
        boxes.append(np.concatenate([(low + high) / 2, high - low], axis=1) / np.array([w, h, w, h], np.float32))
    return boxes, [target.labels for target in targets]


def pairs(matches: list[Match], boxes: list[np.ndarray], labels: list[np.ndarray]) -> Pairs:
    """The matches of all images together; boxes [n, 4] and labels [n] per image."""
    return Pairs(
        image=np.concatenate([np.full(len(src), i, np.int32) for i, (src, _) in enumerate(matches)]),
        query=np.concatenate([src for src, _ in matches]).astype(np.int32),
        boxes=np.concatenate([b[tgt] for b, (_, tgt) in zip(boxes, matches, strict=True)]),
        classes=np.concatenate([c[tgt] for c, (_, tgt) in zip(labels, matches, strict=True)]).astype(np.int32),
    )


def match_arrays(matches: dict[str, list[Match]]) -> dict[str, np.ndarray]:
    """Matches by head under the names of `trace`: match/<head>/img<i>/src and /tgt."""
    return {
        f"match/{head}/img{i}/{side}": places
        for head, images in matches.items()
        for i, match in enumerate(images)
        for side, places in zip(("src", "tgt"), match, strict=True)
    }
