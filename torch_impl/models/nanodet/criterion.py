"""Losses of NanoDet-Plus (nanodet/model/head/nanodet_plus_head.py): QFL, DFL and GIoU of two heads, assigned once."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from parity.data.assign_dynamic import dynamic_soft_labels
from torch_impl.boxes import generalized_iou
from torch_impl.models.dense import boxes_to_distances, distribution_focal_loss, quality_focal_loss_with_logits
from torch_impl.models.interface import Target

GIOU_EPS = 1e-6


class Prediction(NamedTuple):
    """What a head predicts at N places: logits [B, N, C], distributions [B, N, 4 * (reg_max + 1)], boxes [B, N, 4]."""

    logits: Tensor
    distributions: Tensor
    boxes: Tensor


class Positives(NamedTuple):
    """P places that have to predict a box: image and place [P], box [P, 4] pixels, label [P], quality (IoU) [P]."""

    image: Tensor
    place: Tensor
    boxes: Tensor
    labels: Tensor
    quality: Tensor


class Criterion:
    """weights: {"qfl", "dfl", "bbox"}; beta: exponent of QFL; topk and iou_factor: of the assigner."""

    def __init__(self, reg_max: int, weights: dict[str, float], beta: float, topk: int, iou_factor: float):
        self.reg_max, self.weights, self.beta = reg_max, weights, beta
        self.topk, self.iou_factor = topk, iou_factor

    def __call__(
        self, heads: dict[str, Prediction], judge: Prediction, points: Tensor, strides: Tensor, targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """heads: by the prefix of their losses' names; judge: the one that decides the assignment; points [N, 2]
        and strides [N] of the places.

        Returns the weighted losses by name, and per image int64 [N]: 0 or 1 + the number of the assigned box.
        """
        assigned, positives = self.assign(judge, points, targets)
        named = {}
        for prefix, head in heads.items():
            named |= self.head_losses(head, positives, points, strides, prefix)
        return named, assigned

    def assign(self, judge: Prediction, points: Tensor, targets: list[Target]) -> tuple[list[Tensor], Positives]:
        """Assign every image's places by what the head `judge` predicts there."""
        scores, predicted = judge.logits.detach().sigmoid().cpu().numpy(), judge.boxes.detach().cpu().numpy()
        corners, found = points.cpu().numpy(), []
        truth = [(target.boxes.cpu().numpy(), target.labels.cpu().numpy()) for target in targets]
        for score, box, (boxes, labels) in zip(scores, predicted, truth, strict=True):
            found.append(dynamic_soft_labels(corners, score, box, boxes, labels, self.topk, self.iou_factor))
        places = [np.flatnonzero(assigned) for assigned, _ in found]
        chosen = [assigned[place] - 1 for (assigned, _), place in zip(found, places, strict=True)]
        parts = Positives(
            np.repeat(np.arange(len(found)), [len(place) for place in places]),
            np.concatenate(places),
            np.concatenate([boxes[number] for (boxes, _), number in zip(truth, chosen, strict=True)]),
            np.concatenate([labels[number] for (_, labels), number in zip(truth, chosen, strict=True)]),
            np.concatenate([overlaps[place] for (_, overlaps), place in zip(found, places, strict=True)]),
        )
        tensors = [torch.from_numpy(part).to(points.device) for part in parts]
        dtype = judge.boxes.dtype
        positives = Positives(*tensors[:2], tensors[2].to(dtype), tensors[3], tensors[4].to(dtype))
        return [torch.from_numpy(assigned) for assigned, _ in found], positives

    def head_losses(
        self, head: Prediction, positives: Positives, points: Tensor, strides: Tensor, prefix: str
    ) -> dict[str, Tensor]:
        """QFL of all places; GIoU and DFL of positive ones, weighted by this head's best class probability there."""
        image, place = positives.image, positives.place
        quality = torch.zeros_like(head.logits)
        quality[image, place, positives.labels] = positives.quality
        qfl = quality_focal_loss_with_logits(head.logits, quality, self.beta).sum() / max(1, len(place))
        if len(place):
            weight = head.logits.detach()[image, place].amax(-1).sigmoid()
            norm = weight.sum().clamp(min=1)
            giou = generalized_iou(head.boxes[image, place], positives.boxes, GIOU_EPS)
            bbox = ((1 - giou) * weight).sum() / norm
            bins = head.distributions[image, place].unflatten(-1, (4, -1))
            dfl = distribution_focal_loss(bins, self.distances(positives, points, strides))
            dfl = (dfl * weight[:, None]).sum() / (4 * norm)
        else:
            bbox = dfl = head.distributions.sum() * 0
        values = {"loss_qfl": qfl, "loss_bbox": bbox, "loss_dfl": dfl}
        return {prefix + name: self.weights[name.removeprefix("loss_")] * value for name, value in values.items()}

    def distances(self, positives: Positives, points: Tensor, strides: Tensor) -> Tensor:
        """[P, 4] from each positive place to its box's sides in units of the stride, inside what the bins can say.

        A place outside its box has negative distances, which become 0.
        """
        stride = strides[positives.place, None]
        return boxes_to_distances(points[positives.place] / stride, positives.boxes / stride, self.reg_max - 0.1)
