"""One-to-one matching of queries and boxes (DETR, paper section 3.1), which DETR and RT-DETR share."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from parity.data.pairing import Match, match_costs
from torch_impl.boxes import cxcywh_to_xyxy, generalized_iou


class Matcher(ABC):
    """Matching of least cost = class * class cost + bbox * L1 - giou * GIoU; `costs` holds the three factors."""

    def __init__(self, costs: dict[str, float]):
        self.costs = costs

    @abstractmethod
    def class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits [Q, C], labels [n] -> [Q, n]."""

    @torch.no_grad()
    def cost(self, logits: Tensor, boxes: Tensor, labels: np.ndarray, targets: np.ndarray) -> Tensor:
        """logits [Q, C], boxes [Q, 4], labels [n], targets [n, 4] of one image; boxes cxcywh in 0..1 -> [Q, n]."""
        labels, targets = (torch.from_numpy(x).to(boxes.device) for x in (labels, targets))
        distance = (boxes[:, None] - targets[None]).abs().sum(-1)
        overlap = generalized_iou(cxcywh_to_xyxy(boxes)[:, None], cxcywh_to_xyxy(targets)[None])
        of_class = self.class_cost(logits, labels)
        return self.costs["bbox"] * distance + self.costs["class"] * of_class - self.costs["giou"] * overlap

    def match(self, heads: list[dict], labels: list[np.ndarray], targets: list[np.ndarray]) -> list[list[Match]]:
        """heads: logits [B, Q, C] and boxes [B, Q, 4] each; labels and targets per image -> per head a Match per image.

        Raises UserError as `match_costs`.
        """
        return [
            match_costs(
                [
                    self.cost(*image).cpu().numpy()
                    for image in zip(head["logits"], head["boxes"], labels, targets, strict=True)
                ]
            )
            for head in heads
        ]
