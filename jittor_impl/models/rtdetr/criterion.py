"""Losses of RT-DETR (paper section 4.4; rtdetr_pytorch/src/zoo/rtdetr/rtdetr_criterion.py)."""

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import cxcywh_to_xyxy, generalized_iou, iou_and_union
from jittor_impl.models.rtdetr.matcher import HungarianMatcher
from jittor_impl.runtime import jt
from parity.data.pairing import Match, known_matches, pairs

Var = jt.Var


def varifocal_loss(logits: Var, target: Var, quality: Var, alpha: float, gamma: float) -> Var:
    """VarifocalNet (Zhang et al., CVPR 2021), element-wise.

    logits [..., C]; target [..., C] is 1 at the class of a matched query, else 0; quality [..., C] is the IoU there.
    The weight alpha * p^gamma of the negatives has no gradient.
    """
    weight = alpha * logits.detach().sigmoid() ** gamma * (1 - target) + quality
    return weight * ops.bce_with_logits(logits, quality)


def focal_loss(logits: Var, target: Var, alpha: float, gamma: float) -> Var:
    """RetinaNet (Lin et al., ICCV 2017), element-wise; alpha weighs the positives, 1 - alpha the negatives."""
    p = logits.sigmoid()
    missed = p * (1 - target) + (1 - p) * target
    weight = alpha * target + (1 - alpha) * (1 - target)
    return weight * missed**gamma * ops.bce_with_logits(logits, target)


class SetCriterion:
    """Losses of matched queries, already multiplied by their weights.

    class_loss: "vfl", "focal" or "bce"; weights: {"class", "bbox", "giou"}; alpha and gamma belong to vfl and focal.
    """

    def __init__(
        self, matcher: HungarianMatcher, class_loss: str, weights: dict[str, float], alpha: float, gamma: float
    ):
        self.matcher, self.class_loss, self.weights = matcher, class_loss, weights
        self.alpha, self.gamma = alpha, gamma

    def __call__(
        self,
        outputs: dict,
        boxes: list[np.ndarray],
        labels: list[np.ndarray],
    ) -> tuple[dict[str, Var], dict[str, list[Match]]]:
        """outputs: of RTDETR in training; boxes per image [n, 4] cxcywh in 0..1, labels per image [n].

        Returns the losses by name and the matches by head. The last layer has no suffix and is the head "main"; the
        others are aux_0, aux_1, ..., then the encoder's proposals as the last aux. Denoising layers are dn_0, dn_1, ...
        and their matches are known. Everything is divided by the number of boxes, times the groups for denoising.
        """
        count = max(1, sum(len(x) for x in labels))
        named, matches = {}, {}
        heads = [("main", outputs["main"])] + [(f"aux_{i}", head) for i, head in enumerate(outputs["aux"])]
        found = self.matcher.match([head for _, head in heads], labels, boxes)
        for (name, head), matches[name] in zip(heads, found, strict=True):
            suffix = "" if name == "main" else f"_{name}"
            named |= self.head_losses(head, matches[name], boxes, labels, count, suffix)
        denoising = outputs["denoising"]
        if denoising is not None:
            known = known_matches(denoising.positives, labels, denoising.groups)
            for i, head in enumerate(outputs["dn"]):
                named |= self.head_losses(head, known, boxes, labels, count * denoising.groups, f"_dn_{i}")
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
        """Losses of one set of queries: head["logits"] [B, Q, C], head["boxes"] [B, Q, 4]."""
        image, query, wanted, classes = map(jt.array, pairs(matches, boxes, labels))
        found = head["boxes"][image, query]
        corners, wanted_corners = cxcywh_to_xyxy(found), cxcywh_to_xyxy(wanted)
        iou = iou_and_union(corners.detach(), wanted_corners)[0]
        classification = self.classification(head["logits"], (image, query, classes), iou)
        values = {
            f"loss_{self.class_loss}": self.weights["class"] * ops.fsum(classification) / count,
            "loss_bbox": self.weights["bbox"] * ops.fsum(ops.absolute(found - wanted)) / count,
            "loss_giou": self.weights["giou"] * ops.fsum(1 - generalized_iou(corners, wanted_corners)) / count,
        }
        return {name + suffix: value for name, value in values.items()}

    def classification(self, logits: Var, place: tuple[Var, Var, Var], iou: Var) -> Var:
        """Element-wise class loss [B, Q, C]; `place`: (image, query, class) of each match, iou: its overlap."""
        target = jt.zeros_like(logits)
        target[place] = 1
        if self.class_loss == "vfl":
            quality = jt.zeros_like(logits)
            quality[place] = iou
            return varifocal_loss(logits, target, quality, self.alpha, self.gamma)
        if self.class_loss == "focal":
            return focal_loss(logits, target, self.alpha, self.gamma)
        return ops.bce_with_logits(logits, target)
