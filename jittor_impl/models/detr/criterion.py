"""Losses of DETR (paper section 3.1 and appendix A.2; SetCriterion of detr/models/detr.py)."""

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import cxcywh_to_xyxy, generalized_iou
from jittor_impl.models.detr.matcher import HungarianMatcher
from jittor_impl.runtime import jt
from parity.data.pairing import Match, pairs

Var = jt.Var


def classification(logits: Var, classes: np.ndarray, eos_coef: float) -> Var:
    """Cross-entropy, a mean weighted by 1 for boxes and by `eos_coef` for "no object", the last class.

    logits [B, Q, C], classes [B, Q] -> scalar. The divisor is the sum of weights over the batch.
    """
    weights = np.where(classes == logits.shape[-1] - 1, eos_coef, 1.0).astype(np.float32).ravel()
    rows, classes = np.arange(classes.size, dtype=np.int32), classes.astype(np.int32).ravel()
    x = logits.reshape(-1, logits.shape[-1])
    x = x - x.max(1, keepdims=True).detach()
    surprise = x.exp().sum(1).log() - x[jt.array(rows), jt.array(classes)]
    return ops.fsum(jt.array(weights) * surprise) / float(weights.sum())


class SetCriterion:
    """Losses of matched queries, not multiplied by their weights. Values that are only logged officially are left out.

    eos_coef: weight of "no object" in the classification.
    """

    def __init__(self, matcher: HungarianMatcher, eos_coef: float):
        self.matcher, self.eos_coef = matcher, eos_coef

    def __call__(
        self, outputs: dict, boxes: list[np.ndarray], labels: list[np.ndarray]
    ) -> tuple[dict[str, Var], dict[str, list[Match]]]:
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
    ) -> dict[str, Var]:
        """Losses of one layer: head["logits"] [B, Q, C], head["boxes"] [B, Q, 4]."""
        image, query, wanted, label = pairs(matches, boxes, labels)
        logits = head["logits"]
        classes = np.full(logits.shape[:2], logits.shape[-1] - 1)
        classes[image, query] = label
        found, wanted = head["boxes"][jt.array(image), jt.array(query)], jt.array(wanted)
        overlap = generalized_iou(cxcywh_to_xyxy(found), cxcywh_to_xyxy(wanted))
        values = {
            "loss_ce": classification(logits, classes, self.eos_coef),
            "loss_bbox": ops.fsum(ops.absolute(found - wanted)) / count,
            "loss_giou": ops.fsum(1 - overlap) / count,
        }
        return {name + suffix: value for name, value in values.items()}
