"""One-to-one matching of queries and boxes (DETR, paper section 3.1), which DETR and RT-DETR share."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from parity.errors import UserError
from torch_impl.boxes import cxcywh_to_xyxy, generalized_iou, xyxy_to_cxcywh
from torch_impl.models.interface import Target

Match = tuple[Tensor, Tensor]  # places of queries, ascending, and the boxes they are matched to; both int64 [n]


class Pairs(NamedTuple):
    """Matched pairs of a batch: image [M] and query [M], and what the query should be: boxes [M, 4], classes [M]."""

    image: Tensor
    query: Tensor
    boxes: Tensor
    classes: Tensor


class Matcher(ABC):
    """Matching of least cost = class * class cost + bbox * L1 - giou * GIoU; `costs` holds the three factors."""

    def __init__(self, costs: dict[str, float]):
        self.costs = costs

    @abstractmethod
    def class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits [Q, C], labels [n] -> [Q, n]."""

    @torch.no_grad()
    def cost(self, logits: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Of one image: logits [Q, C], boxes [Q, 4], labels [n], targets [n, 4], boxes cxcywh in 0..1 -> [Q, n]."""
        distance = (boxes[:, None] - targets[None]).abs().sum(-1)
        overlap = generalized_iou(cxcywh_to_xyxy(boxes)[:, None], cxcywh_to_xyxy(targets)[None])
        of_class = self.class_cost(logits, labels)
        return self.costs["bbox"] * distance + self.costs["class"] * of_class - self.costs["giou"] * overlap

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


def normalised(targets: list[Target]) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes as cxcywh in 0..1 of the valid image, and labels; per image."""
    boxes = []
    for target in targets:
        h, w = target.size
        boxes.append(xyxy_to_cxcywh(target.boxes) / target.boxes.new_tensor([w, h, w, h]))
    return boxes, [target.labels for target in targets]


def pairs(matches: list[Match], boxes: list[Tensor], labels: list[Tensor]) -> Pairs:
    """The matches of all images together; boxes [n, 4] and labels [n] per image."""
    return Pairs(
        image=torch.cat([torch.full_like(src, i) for i, (src, _) in enumerate(matches)]),
        query=torch.cat([src for src, _ in matches]),
        boxes=torch.cat([b[tgt] for b, (_, tgt) in zip(boxes, matches, strict=True)]),
        classes=torch.cat([c[tgt] for c, (_, tgt) in zip(labels, matches, strict=True)]),
    )


def match_arrays(matches: dict[str, list[Match]]) -> dict[str, Tensor]:
    """Matches by head under the names of `trace`: match/<head>/img<i>/src and /tgt."""
    return {
        f"match/{head}/img{i}/{side}": places
        for head, images in matches.items()
        for i, match in enumerate(images)
        for side, places in zip(("src", "tgt"), match, strict=True)
    }
