"""Raw outputs to detections (mmdet GFocalHead.get_bboxes and multiclass_nms)."""

import torch
from torch import Tensor

from parity.assign import level_points
from torch_impl.models.dense import Integral, clip_boxes, distances_to_boxes
from torch_impl.models.gfocalv2.criterion import flat
from torch_impl.models.interface import Detected
from torch_impl.nms import class_nms


def detections(
    scores: list[Tensor],
    logits: list[Tensor],
    sizes: Tensor,
    integral: Integral,
    strides: list[int],
    nms_pre: int,
    threshold: float,
    nms_iou: float,
    limit: int,
) -> list[Detected]:
    """Per level the `nms_pre` places of best score, then every pair (place, class) above `threshold`, suppressed.

    scores [B, C, H, W], logits [B, 4 * (reg_max + 1), H, W] per level, sizes [B, 2] (height, width) that boxes are
    clipped to. The class that the head has on top of the data's is suppressed and counted like the others.
    """
    shapes = [tuple(x.shape[2:]) for x in scores]
    points = torch.from_numpy(level_points(shapes, strides)).to(sizes.device, scores[0].dtype)
    stride = torch.cat([torch.full((h * w, 1), s) for (h, w), s in zip(shapes, strides, strict=True)]).to(points)
    scores, logits = flat(scores), flat(logits)
    found = []
    for i, size in enumerate(sizes):
        places, first = [], 0
        for h, w in shapes:
            best = scores[i, first : first + h * w].amax(1)
            places.append(first + best.argsort(descending=True, stable=True)[:nms_pre])
            first += h * w
        places = torch.cat(places)
        candidates = scores[i, places]
        distances = integral(logits[i, places]) * stride[places]
        boxes = clip_boxes(distances_to_boxes(points[places], distances), size)
        row, label = (candidates > threshold).nonzero(as_tuple=True)
        boxes, values = boxes[row], candidates[row, label]
        kept = class_nms(boxes, values, label, nms_iou, limit)
        found.append(Detected(boxes[kept], values[kept], label[kept]))
    return found
