"""Average precision as Pascal VOC's devkit computes it, at IoU 0.5.

Two rules: `AP50_voc07`, the mean of eleven precisions (2007 to 2009), and `AP50_voc10`, the area under the curve (2010
on). Difficult objects are neither found nor missed. The devkit counts pixels inclusively, so that a box from 3 to 3 is
one pixel wide; where the dataset kept corners as they stand (`one_based: false`) overlaps are computed that way.
(VOCdevkit, VOCcode/VOCevaldet.m and VOCap.m)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.data.iou import xywh_iou

OVERLAP = 0.5


def evaluate_voc(document: Mapping[str, Any], results: Sequence[Mapping[str, Any]], one_based: bool) -> dict[str, Any]:
    """Both APs of every class and their means; `document` is COCO's form of a VOC split, `results` COCO results.

    A class without an object that counts has None and takes no part in the mean.
    """
    pixel = 0.0 if one_based else 1.0
    truth, found = defaultdict(lambda: defaultdict(list)), defaultdict(list)
    for entry in document["annotations"]:
        truth[entry["category_id"]][entry["image_id"]].append((entry["bbox"], bool(entry.get("difficult", 0))))
    for entry in results:
        found[entry["category_id"]].append((entry["score"], entry["image_id"], entry["bbox"]))
    rows = []
    for category in sorted(document["categories"], key=lambda c: c["id"]):
        recall, precision, positives = curve(truth[category["id"]], found[category["id"]], pixel)
        values = (voc07_ap(recall, precision), voc10_ap(recall, precision)) if positives else (None, None)
        rows.append(
            {"id": category["id"], "name": category["name"], "objects": positives}
            | dict(zip(("AP50_voc07", "AP50_voc10"), values, strict=True))
        )
    metrics = {}
    for key in ("AP50_voc07", "AP50_voc10"):
        known = [row[key] for row in rows if row[key] is not None]
        metrics[key] = float(np.mean(known)) if known else None
    return {"metrics": metrics, "per_class": rows}


def curve(
    truth: Mapping[int, list[tuple[list[float], bool]]], found: list[tuple[float, int, list[float]]], pixel: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Recall and precision after each detection of a class, and the number of objects that count.

    `truth` is (xywh, difficult) by image id, `found` (score, image id, xywh). A detection belongs to the object that it
    overlaps most, also when another one found that before; then it is wrong.
    """
    positives = sum(not difficult for objects in truth.values() for _, difficult in objects)
    scores = np.asarray([score for score, _, _ in found])
    taken = {image: [False] * len(objects) for image, objects in truth.items()}
    right, wrong = np.zeros(len(found)), np.zeros(len(found))
    for rank, index in enumerate(np.argsort(-scores, kind="stable")):
        _, image, box = found[index]
        objects = truth.get(image, [])
        boxes = np.asarray([b for b, _ in objects], np.float64).reshape(-1, 4)
        overlaps = xywh_iou(np.asarray([box], np.float64), boxes, pixel)[0]
        best = int(np.argmax(overlaps)) if len(objects) else -1
        if best < 0 or overlaps[best] < OVERLAP:
            wrong[rank] = 1
        elif not objects[best][1]:
            (wrong if taken[image][best] else right)[rank] = 1
            taken[image][best] = True
    right, wrong = np.cumsum(right), np.cumsum(wrong)
    return right / max(positives, 1), right / np.maximum(right + wrong, np.finfo(np.float64).tiny), positives


def voc07_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over recall 0, 0.1, ..., 1 of the best precision from there on."""
    best = [precision[recall >= level].max(initial=0.0) for level in np.arange(11) / 10]
    return float(np.mean(best))


def voc10_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under precision made monotonic over recall."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision[1:]))
