"""The graphs of ONNX files: a network's raw outputs, or detections of a whole batch as arrays of fixed shapes.

A model's `detect` returns a list, one entry per image, of any length. A graph has tensors only, so each class here
computes the same detections for all images at once: boxes [B, K, 4], scores [B, K], labels [B, K] and counts [B].
Image i has counts[i] detections, best first; behind them stand zero boxes with score 0 and label -1. The tests hold
every one of them against `detect`, with ties.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from torch_impl.boxes import cxcywh_to_xyxy
from torch_impl.export.operators import BestPlaces, ClassNMS, TopK
from torch_impl.models.dense import clip_boxes, distances_to_boxes
from torch_impl.models.gfocalv2.criterion import flat
from torch_impl.models.interface import Detector


class Found(NamedTuple):
    """Detections of a batch: boxes float32 [B, K, 4] xyxy in pixels of `sizes`, scores float32 [B, K], labels int64
    [B, K], counts int64 [B]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


class Head(nn.Module):
    """A model behind two methods that can be traced for any batch and size."""

    def __init__(self, model: Detector):
        super().__init__()
        self.model = model

    def raw(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """images [B, 3, H, W], sizes [B, 2] (height, width) -> raw outputs under the names of `trace`."""
        return self.model.raw_outputs(self.model(images, sizes))

    def found(self, raw: dict[str, Tensor], images: Tensor, sizes: Tensor) -> Found:
        """Detections of raw outputs."""
        raise NotImplementedError


class RTDETRHead(Head):
    """Query selection, decoder, then the best pairs of query and class."""

    def found(self, raw: dict[str, Tensor], images: Tensor, sizes: Tensor) -> Found:
        queries, classes, top = (self.model.options[key] for key in ("num_queries", "num_classes", "topk_detections"))
        scores, places = TopK.apply(raw["pred_logits"].sigmoid().flatten(1), min(top, queries * classes))
        boxes = pick(in_pixels(raw["pred_boxes"], sizes), places // classes)
        return Found(boxes, scores, places % classes, counted(scores))


class DETRHead(Head):
    """One detection per query, best first."""

    def found(self, raw: dict[str, Tensor], images: Tensor, sizes: Tensor) -> Found:
        best, labels = raw["pred_logits"].softmax(-1)[..., :-1].max(-1)
        scores, order = TopK.apply(best, self.model.options["num_queries"])
        boxes = pick(in_pixels(raw["pred_boxes"], sizes), order)
        return Found(boxes, scores, labels.gather(1, order), counted(scores))


class NanoDetHead(Head):
    """Every pair of place and class above the threshold, suppressed class by class."""

    def raw(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """As `Head.raw`. The model's own forward makes the places' coordinates in NumPy, which no trace follows."""
        model = self.model
        return {"preds": model.head(model.fpn(model.backbone(images)))}

    def found(self, raw: dict[str, Tensor], images: Tensor, sizes: Tensor) -> Found:
        strides = self.model.options["strides"]
        height, width = images.shape[2], images.shape[3]
        shapes = [((height + s - 1) // s, (width + s - 1) // s) for s in strides]
        points, stride = places(shapes, strides, images)
        prediction = self.model.decode(raw["preds"], {"points": points, "strides": stride})
        boxes = clip_boxes(prediction.boxes, sizes[:, None])
        return suppressed(boxes, prediction.logits.sigmoid(), self.model.options)


class GFocalV2Head(Head):
    """The best places of each level, their pairs of place and class above the threshold, suppressed class by class."""

    def found(self, raw: dict[str, Tensor], images: Tensor, sizes: Tensor) -> Found:
        o = self.model.options
        levels = range(len(o["strides"]))
        scores, logits = ([raw[f"{name}/lvl{i}"] for i in levels] for name in ("cls_score", "bbox_pred"))
        shapes = [(level.shape[2], level.shape[3]) for level in scores]
        points, stride = places(shapes, o["strides"], images)
        distances = self.model.bbox_head.integral(flat(logits)) * stride[:, None]
        boxes = clip_boxes(distances_to_boxes(points, distances), sizes[:, None])
        first, chosen = 0, []
        for (h, w), level in zip(shapes, scores, strict=True):
            chosen.append(first + BestPlaces.apply(level.amax(1).flatten(1), o["nms_pre"]))
            first = first + h * w
        chosen = torch.cat(chosen, 1)
        return suppressed(pick(boxes, chosen), pick(flat(scores), chosen), o)


HEADS = {"rtdetr": RTDETRHead, "detr": DETRHead, "nanodet": NanoDetHead, "gfocalv2": GFocalV2Head}


class RawOutputs(nn.Module):
    """A head's raw outputs as a tuple, in the order of `names`, which the first call fills."""

    def __init__(self, head: Head):
        super().__init__()
        self.head, self.names = head, []

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        raw = self.head.raw(images, sizes)
        self.names = list(raw)
        return tuple(raw.values())


class Detections(nn.Module):
    """A head's detections as a tuple, in the order of `names`."""

    def __init__(self, head: Head):
        super().__init__()
        self.head, self.names = head, list(Found._fields)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.head.found(self.head.raw(images, sizes), images, sizes))


def pick(x: Tensor, places: Tensor) -> Tensor:
    """Rows `places` [B, K] of x [B, N, E] -> [B, K, E]."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def in_pixels(boxes: Tensor, sizes: Tensor) -> Tensor:
    """cxcywh in 0..1 [B, Q, 4] -> xyxy in pixels of `sizes` [B, 2] (height, width)."""
    return cxcywh_to_xyxy(boxes) * sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)


def counted(scores: Tensor) -> Tensor:
    """All of the detections [B, K] of each image count -> [B]."""
    return torch.ones_like(scores, dtype=torch.int64).sum(1)


def places(shapes: list[tuple[int, int]], strides: list[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Points [N, 2] (x, y) and strides [N] of all levels: `parity.data.assign.level_points` in traceable form."""
    points, each = [], []
    for (h, w), stride in zip(shapes, strides, strict=True):
        y, x = (torch.arange(n, dtype=like.dtype, device=like.device) * stride for n in (h, w))
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1)
        points.append(grid)
        each.append(torch.full_like(grid[:, 0], stride))
    return torch.cat(points), torch.cat(each)


def suppressed(boxes: Tensor, scores: Tensor, options: dict) -> Found:
    """Pairs (box, class) above the score threshold after suppression inside each class, the best `max_detections`.

    boxes [B, N, 4] xyxy, scores [B, N, C]. Of equal scores the earlier box is better, of one box the lower class.
    """
    limit, classes = options["max_detections"], scores.shape[2]
    by_class = scores.transpose(1, 2)
    kept = ClassNMS.apply(boxes, by_class, limit, options["nms_iou"], options["score_threshold"])
    image, label, place = kept.unbind(1)
    # A table of all pairs with the scores of those that stand, and `limit` more so that there always are as many.
    table = torch.cat([torch.zeros_like(scores).flatten(1), scores.new_zeros(1, limit).expand(scores.shape[0], -1)], 1)
    table = table.index_put((image, place * classes + label), scores[image, place, label])
    best, pairs = TopK.apply(table, limit)
    real = best > 0  # the threshold is not negative
    pairs = torch.where(real, pairs, torch.zeros_like(pairs))
    labels = torch.where(real, pairs % classes, torch.full_like(pairs, -1))
    corners = pick(boxes, pairs // classes) * real[..., None].to(boxes.dtype)
    return Found(corners, best, labels, real.sum(1))
