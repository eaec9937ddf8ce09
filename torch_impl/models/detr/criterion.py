"""Losses of DETR (paper section 3.1 and appendix A.2; SetCriterion of detr/models/detr.py)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parity.data.pairing import Match, pairs
from torch_impl.boxes import cxcywh_to_xyxy, generalized_iou
from torch_impl.models.detr.matcher import HungarianMatcher


def classification(logits: Tensor, classes: np.ndarray, eos_coef: float) -> Tensor:
    """Cross-entropy, a mean weighted by 1 for boxes and by `eos_coef` for "no object", the last class.

    logits [B, Q, C], classes [B, Q] -> scalar. The divisor is the sum of weights over the batch.
    """
    weights = logits.new_ones(logits.shape[-1])
    weights[-1] = eos_coef
    return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(classes).to(logits.device).flatten(), weights)


class SetCriterion:
    """Losses of matched queries, not multiplied by their weights. Values that are only logged officially are left out.

    eos_coef: weight of "no object" in the classification.
    """

    def __init__(self, matcher: HungarianMatcher, eos_coef: float):
        self.matcher, self.eos_coef = matcher, eos_coef

    def __call__(
        self, outputs: dict, boxes: list[np.ndarray], labels: list[np.ndarray]
    ) -> tuple[dict[str, Tensor], dict[str, list[Match]]]:
        """outputs: of DETR in training; boxes per image [n, 4] cxcywh in 0..1, labels per image [n].

        Returns the losses by name and the matches by head. The last layer has no suffix and is the head "main"; the
        others are _0, _1, ... and aux_0, aux_1, ...
        """
        count = max(1, sum(len(x) for x in labels))
        named, matches = {}, {}
        heads = [("main", outputs["main"], "")]
        heads += [(f"aux_{i}", head, f"_{i}") for i, head in enumerate(outputs["aux"])]
        found = self.matcher.match([head for _, head, _ in heads], labels, boxes)
        for (name, head, suffix), matches[name] in zip(heads, found, strict=True):
            named |= self.head_losses(head, matches[name], boxes, labels, count, suffix)
        return named, matches

    def head_losses(
        self,
        head: dict,
        matches: list[Match],
        boxes: list[np.ndarray],
        labels: list[np.ndarray],
        count: int,
        suffix: str,
    ) -> dict[str, Tensor]:
        """Losses of one layer: head["logits"] [B, Q, C], head["boxes"] [B, Q, 4]."""
        image, query, wanted, label = pairs(matches, boxes, labels)
        logits = head["logits"]
        classes = np.full(logits.shape[:2], logits.shape[-1] - 1)
        classes[image, query] = label
        image, query, wanted = (torch.from_numpy(x).to(logits.device) for x in (image, query, wanted))
        found = head["boxes"][image, query]
        overlap = generalized_iou(cxcywh_to_xyxy(found), cxcywh_to_xyxy(wanted))
        values = {
            "loss_ce": classification(logits, classes, self.eos_coef),
            "loss_bbox": (found - wanted).abs().sum() / count,
            "loss_giou": (1 - overlap).sum() / count,
        }
        return {name + suffix: value for name, value in values.items()}
