"""Losses of GFocalV2 (GFL, Li et al., 2020, and V2, CVPR 2021; mmdet GFocalHead.loss)."""

from typing import NamedTuple

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import generalized_iou, iou_and_union
from jittor_impl.models.dense import (
    Integral,
    boxes_to_distances,
    distances_to_boxes,
    distribution_focal_loss,
    quality_focal_loss,
)
from jittor_impl.runtime import jt
from parity.data.assign import atss, level_points
from parity.data.targets import Target

Var = jt.Var
EPS = 1e-6  # least union and hull, in squares of a stride
TINY = 1e-30  # a sum of weights to divide by when there are none


class Assigned(NamedTuple):
    """Anchors of a batch: numbers int64 [B, N], 0 or the number 1..n of the image's box; part bool [B, N]."""

    numbers: np.ndarray
    part: np.ndarray


class Criterion:
    """Weighted losses: quality focal loss of the scores, GIoU and distribution focal loss of the positives.

    strides: pixels per cell of each level; weights: {"class", "bbox", "dfl"}; beta: exponent of the quality focal loss;
    candidates and anchor_scale: of ATSS; pad_multiple: images count as padded to multiples of it.
    """

    def __init__(
        self,
        integral: Integral,
        strides: list[int],
        weights: dict[str, float],
        beta: float,
        candidates: int,
        anchor_scale: float,
        pad_multiple: int,
    ):
        self.integral, self.strides, self.weights, self.beta = integral, strides, weights, beta
        self.candidates, self.anchor_scale, self.pad_multiple = candidates, anchor_scale, pad_multiple

    def assign(self, shapes: list[tuple[int, int]], targets: list[Target]) -> Assigned:
        """ATSS of every image; shapes: (height, width) of the levels in cells."""
        images = []
        for target in targets:
            padded = [-(-side // self.pad_multiple) * self.pad_multiple for side in target.size]
            images.append(atss(shapes, self.strides, padded, target.boxes, self.candidates, self.anchor_scale))
        return Assigned(np.stack([numbers for numbers, _ in images]), np.stack([part for _, part in images]))

    def __call__(
        self, scores: list[Var], logits: list[Var], targets: list[Target]
    ) -> tuple[dict[str, Var], dict[str, list[Var]], Assigned]:
        """scores [B, C, H, W] and logits [B, 4 * (reg_max + 1), H, W] per level.

        Returns the losses by name, the same without gradient level by level, and the assignment.
        """
        shapes = [tuple(x.shape[2:]) for x in scores]
        assigned = self.assign(shapes, targets)
        image, anchor = np.nonzero(assigned.numbers)
        starts = np.cumsum([0] + [len(target.labels) for target in targets])
        box = starts[image] + assigned.numbers[image, anchor] - 1
        level = np.repeat(np.arange(len(shapes)), [h * w for h, w in shapes])
        stride = np.asarray(self.strides, np.float32)[level[anchor], None]
        labels = np.concatenate([target.labels for target in targets])[box]
        wanted = np.concatenate([target.boxes for target in targets])[box] / stride
        centre, wanted = jt.array(level_points(shapes, self.strides)[anchor] / stride), jt.array(wanted)
        place = tuple(jt.array(x.astype(np.int32)) for x in (image, anchor, labels))

        scores, logits = flat(scores), flat(logits)
        positive = logits[place[:2]]
        found = distances_to_boxes(centre, self.integral(positive))
        weight = scores.detach()[place[:2]].max(1)
        quality = jt.zeros_like(scores)
        quality[place] = iou_and_union(found.detach(), wanted, EPS)[0]
        distances = boxes_to_distances(centre, wanted, self.integral.project.shape[0] - 1 - 0.1)
        distribution = distribution_focal_loss(positive.reshape([len(anchor), 4, -1]), distances).sum(1) / 4

        # GIoU and distribution loss are means weighted by the score, over all images and levels
        total = ops.clamp(ops.fsum(weight), low=TINY)
        count = max(1, sum(max(1, int(n)) for n in (assigned.numbers > 0).sum(1)))
        classification = quality_focal_loss(scores, quality, self.beta) * (self.weights["class"] / count)
        if not assigned.part.all():
            classification = classification * jt.array(assigned.part.astype(np.float32)).unsqueeze(2)
        terms = {
            "loss_cls": classification,
            "loss_bbox": self.weights["bbox"] * (1 - generalized_iou(found, wanted, EPS)) * weight / total,
            "loss_dfl": self.weights["dfl"] * distribution * weight / total,
        }
        # lazy: computed only if it is asked for
        ends = np.cumsum([h * w for h, w in shapes])
        bounds = list(zip(ends - [h * w for h, w in shapes], ends, strict=True))
        parts = {"loss_cls": [ops.fsum(classification.detach()[:, low:high]) for low, high in bounds]}
        of_level = jt.array(level[anchor].astype(np.int32))
        for name in ("loss_bbox", "loss_dfl"):
            parts[name] = [ops.fsum(terms[name].detach() * (of_level == i).float32()) for i in range(len(shapes))]
        return {name: ops.fsum(term) for name, term in terms.items()}, parts, assigned


def flat(maps: list[Var]) -> Var:
    """Levels [B, C, H, W] one after the other: [B, N, C]."""
    return jt.concat([x.flatten(2) for x in maps], dim=2).transpose(0, 2, 1)
