"""A released checkpoint in both frameworks: AP beside the published one, and how far their detections agree."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from parity.compare.agreement import agreement
from parity.compare.image_bootstrap import compare, interval
from parity.data.entries import METRICS
from parity.files import read_json
from parity.train.evaluate import evaluate

SHOWN = 0.05  # detections with a lower score change nothing that anybody would see


def reproduce(annotations: Path, detections: Mapping[str, Path], published: Mapping[str, float | None]) -> dict:
    """Evaluate `detections` (one file in COCO results format per framework) on `annotations`.

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
        agree = agreement(_counting(detections[first]), _counting(detections[second]), result["images"])
        result["agreement"] = {"from_score": SHOWN, **asdict(agree)}
    return result


def _points(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else 100 * float(value)


def _counting(path: Path) -> list[dict[str, Any]]:
    """Detections of a file in COCO results format from score SHOWN on."""
    return [entry for entry in read_json(path) if entry["score"] >= SHOWN]
