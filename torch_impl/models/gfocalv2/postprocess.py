"""Raw outputs to detections (mmdet GFocalHead.get_bboxes and multiclass_nms)."""

import torch
from torch import Tensor

from parity.data.assign import level_points
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
    scores = flat(scores)
    boxes = clip_boxes(distances_to_boxes(points, integral(flat(logits)) * stride), sizes[:, None])
    found = []
    for image_scores, image_boxes in zip(scores, boxes, strict=True):
        places = best_places(image_scores.amax(1), shapes, nms_pre)
        row, label = (image_scores[places] > threshold).nonzero(as_tuple=True)
        place = places[row]
        corners, values = image_boxes[place], image_scores[place, label]
        kept = class_nms(corners, values, label, nms_iou, limit)
        found.append(Detected(corners[kept], values[kept], label[kept]))
    return found


def best_places(best: Tensor, shapes: list[tuple[int, int]], limit: int) -> Tensor:
    """Places of the `limit` largest values of each level that has more, best first, and all places of the others.

    best [N]: levels of `shapes` (height, width) one after the other; of equal values the lower place is better.
    """
    places, first = [], 0
    for h, w in shapes:
        level = torch.arange(first, first + h * w, device=best.device)
        if len(level) > limit:
            level = level[best[level].argsort(descending=True, stable=True)[:limit]]
        places.append(level)
        first += h * w
    return torch.cat(places)
