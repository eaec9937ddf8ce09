"""Raw outputs to detections (mmdet GFocalHead.get_bboxes and multiclass_nms)."""

import numpy as np

from jittor_impl.models.dense import Integral, clip_boxes, distances_to_boxes
from jittor_impl.models.gfocalv2.criterion import flat
from jittor_impl.models.interface import Detected
from jittor_impl.nms import class_nms
from jittor_impl.runtime import jt
from parity.data.assign import level_points

Var = jt.Var


def detections(
    scores: list[Var],
    logits: list[Var],
    sizes: Var,
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
    points = jt.array(level_points(shapes, strides)).unsqueeze(0)
    stride = jt.array(np.repeat(np.asarray(strides, np.float32), [h * w for h, w in shapes])[:, None])
    boxes = clip_boxes(distances_to_boxes(points, integral(flat(logits)) * stride), sizes.unsqueeze(1))
    scores, boxes = jt.fetch_sync([flat(scores), boxes])
    found = []
    for image_scores, image_boxes in zip(scores, boxes, strict=True):
        places = best_places(image_scores.max(1), shapes, nms_pre)
        row, label = np.nonzero(image_scores[places] > np.float32(threshold))
        place = places[row]
        corners, values = image_boxes[place], image_scores[place, label]
        kept = class_nms(jt.array(corners), jt.array(values), jt.array(label.astype(np.int32)), nms_iou, limit)
        found.append(Detected(corners[kept], values[kept], label[kept]))
    return found


def best_places(best: np.ndarray, shapes: list[tuple[int, int]], limit: int) -> np.ndarray:
    """Places of the `limit` largest values of each level that has more, best first, and all places of the others.

    best [N]: levels of `shapes` (height, width) one after the other; of equal values the lower place is better.
    """
    places, first = [], 0
    for h, w in shapes:
        level = np.arange(first, first + h * w)
        if len(level) > limit:
            level = level[np.argsort(-best[level], kind="stable")[:limit]]
        places.append(level)
        first += h * w
    return np.concatenate(places)
