"""Losses of NanoDet-Plus (nanodet/model/head/nanodet_plus_head.py): QFL, DFL and GIoU of two heads, one assignment."""

from typing import NamedTuple

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import generalized_iou
from jittor_impl.models.dense import boxes_to_distances, distribution_focal_loss, quality_focal_loss_with_logits
from jittor_impl.runtime import jt
from parity.data.assign_dynamic import Positives, assign_images
from parity.data.targets import Target

Var = jt.Var

GIOU_EPS = 1e-6


class Prediction(NamedTuple):
    """A head's predictions at N places: logits [B, N, C], distributions [B, N, 4 * (reg_max + 1)], boxes [B, N, 4]."""

    logits: Var
    distributions: Var
    boxes: Var


class Criterion:
    """weights: {"qfl", "dfl", "bbox"}; beta: exponent of QFL; topk and iou_factor: of the assigner."""

    def __init__(self, reg_max: int, weights: dict[str, float], beta: float, topk: int, iou_factor: float):
        self.reg_max, self.weights, self.beta = reg_max, weights, beta
        self.topk, self.iou_factor = topk, iou_factor

    def __call__(
        self, heads: dict[str, Prediction], judge: Prediction, points: Var, strides: Var, targets: list[Target]
    ) -> tuple[dict[str, Var], list[np.ndarray]]:
        """heads: by the prefix of their losses' names; judge: the one that decides the assignment; points [N, 2]
        and strides [N] of the places.

        Returns the weighted losses by name, and per image int64 [N]: 0 or 1 + the number of the assigned box.
        """
        assigned, positives = self.assign(judge, points, targets)
        named = {}
        for prefix, head in heads.items():
            named |= self.head_losses(head, positives, points, strides, prefix)
        return named, assigned

    def assign(
        self, judge: Prediction, points: Var, targets: list[Target]
    ) -> tuple[list[np.ndarray], Positives | None]:
        """Assign every image's places by what the head `judge` predicts there. None: no place has to predict a box.

        The arrays of the Positives are Vars.
        """
        arrays = jt.fetch_sync([points, judge.logits.sigmoid(), judge.boxes])
        assigned, found = assign_images(*arrays, targets, self.topk, self.iou_factor)
        if not found.place.size:
            return assigned, None
        kinds = {"i": np.int32, "f": np.float32}
        return assigned, Positives(*(jt.array(part.astype(kinds[part.dtype.kind])) for part in found))

    def head_losses(
        self, head: Prediction, positives: Positives | None, points: Var, strides: Var, prefix: str
    ) -> dict[str, Var]:
        """QFL of all places; GIoU and DFL of positive ones, weighted by this head's best class probability there."""
        quality = jt.zeros_like(head.logits)
        if positives is None:
            qfl = ops.fsum(quality_focal_loss_with_logits(head.logits, quality, self.beta))
            bbox = dfl = ops.fsum(head.distributions) * 0
        else:
            image, place = positives.image, positives.place
            quality[image, place, positives.labels] = positives.quality
            qfl = ops.fsum(quality_focal_loss_with_logits(head.logits, quality, self.beta)) / len(place)
            weight = head.logits.detach()[image, place].max(-1).sigmoid()
            norm = ops.clamp(ops.fsum(weight), low=1.0)
            giou = generalized_iou(head.boxes[image, place], positives.boxes, GIOU_EPS)
            bbox = ops.fsum((1 - giou) * weight) / norm
            bins = head.distributions[image, place].reshape([len(place), 4, -1])
            dfl = distribution_focal_loss(bins, self.distances(positives, points, strides))
            dfl = ops.fsum(dfl * weight.unsqueeze(1)) / (norm * 4)
        values = {"loss_qfl": qfl, "loss_bbox": bbox, "loss_dfl": dfl}
        return {prefix + name: self.weights[name.removeprefix("loss_")] * value for name, value in values.items()}

    def distances(self, positives: Positives, points: Var, strides: Var) -> Var:
        """[P, 4] from each positive place to its box's sides in units of the stride, in the range of the bins.

        A place outside its box has negative distances, which become 0.
        """
        stride = strides[positives.place].unsqueeze(1)
        return boxes_to_distances(points[positives.place] / stride, positives.boxes / stride, self.reg_max - 0.1)
