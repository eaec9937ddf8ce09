"""A released checkpoint in both frameworks: AP beside the published one, and how far their detections agree."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from parity.compare.image_bootstrap import compare, interval
from parity.files import read_json
from parity.train.evaluate import METRICS, evaluate

SAME_BOX = 0.5  # IoU from which two detections of one class are the same object
SHOWN = 0.05  # detections below this score move no figure that anybody looks at


def reproduce(annotations: Path, detections: Mapping[str, Path], published: Mapping[str, float | None]) -> dict:
    """What `detections` (a file in COCO results format per framework) are worth on `annotations`.

    Returns points: `frameworks` with the twelve metrics and the bootstrap interval of AP over images, `difference`
    between the first two frameworks with its interval, `agreement` of their detections, `images`, and `published`.
    """
    result: dict[str, Any] = {"published": dict(published), "frameworks": {}}
    for name, path in detections.items():
        scores = evaluate(annotations, path)
        low, high, samples = interval(annotations, path)
        metrics = {key: _points(scores["metrics"][key]) for key in METRICS}
        result["images"] = scores["images"]
        result["frameworks"][name] = {
            "metrics": metrics,
            "AP_interval": [_points(low), _points(high)],
            "samples": samples,
            "detections": scores["detections"],
        }
    if len(detections) > 1:
        first, second = list(detections)[:2]
        found = compare(annotations, detections[first], detections[second])
        result["difference"] = {
            "of": [second, first],
            "AP": _points(found.difference),
            "interval": [_points(found.low), _points(found.high)],
            "identical": found.identical,
        }
        result["agreement"] = agreement(read_json(detections[first]), read_json(detections[second]))
    return result


def _points(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else 100 * float(value)


def agreement(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """How far two lists in COCO results format agree: pairs, and their largest differences.

    Detections with a score from SHOWN on are paired within an image and class, best score first, each with the free one
    of the other list that it overlaps most (IoU from SAME_BOX on). Boxes differ by the largest of four coordinates, in
    pixels of the image file.
    """
    theirs = _by_place(second)
    pairs = alone = 0
    score = box = 0.0
    for place, mine in _by_place(first).items():
        others = theirs.pop(place, [])
        free = np.ones(len(others), bool)
        boxes = np.asarray([entry["bbox"] for entry in others], float).reshape(-1, 4)
        for entry in mine:
            overlap = np.where(free, _iou(np.asarray(entry["bbox"], float), boxes), -1.0)
            best = int(overlap.argmax()) if len(others) else -1
            if best < 0 or overlap[best] < SAME_BOX:
                alone += 1
                continue
            free[best] = False
            pairs += 1
            score = max(score, abs(entry["score"] - others[best]["score"]))
            box = max(box, float(np.abs(_corners(entry["bbox"]) - _corners(others[best]["bbox"])).max()))
        alone += int(free.sum())
    alone += sum(map(len, theirs.values()))
    return {"from_score": SHOWN, "pairs": pairs, "alone": alone, "score": score, "box": box}


def _by_place(detections: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Detections that count by (image, class), best score first."""
    found = defaultdict(list)
    for entry in detections:
        if entry["score"] >= SHOWN:
            found[entry["image_id"], entry["category_id"]].append(entry)
    return {place: sorted(entries, key=lambda entry: -entry["score"]) for place, entries in found.items()}


def _corners(box: list[float]) -> np.ndarray:
    x, y, width, height = box
    return np.asarray([x, y, x + width, y + height])


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one xywh box with [N, 4] others."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    inside = np.clip(high - low, 0, None).prod(1)
    return inside / np.maximum(box[2:].prod() + boxes[:, 2:].prod(1) - inside, 1e-12)
