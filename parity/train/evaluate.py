"""COCO evaluation: detections in, the twelve numbers of pycocotools and the AP of every class out.

pycocotools decides every printed AP. This module feeds it, keeps it quiet, and turns its failed assertions into errors
that name the entry at fault.
"""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from parity.data.coco import finite_box
from parity.data.coco import load as load_annotations
from parity.data.entries import METRICS, Document, ResultEntry
from parity.errors import UserError
from parity.files import read_json
from parity.framework import Batch, Detections
from parity.train.voc_metrics import evaluate_voc


def to_coco(
    detections: Sequence[Detections],
    batch: Batch,
    category_of: Mapping[int, int],
    max_detections: int = 100,
    score_threshold: float = 0.0,
) -> list[ResultEntry]:
    """Detections of one batch as COCO results in the frame of the image files.

    `category_of` maps the model's class index to a category id (`Dataset.category_of`); classes outside of it (DETR's
    unused ids) are left out, as are boxes or scores that are not finite, which JSON could not hold. Boxes are scaled by
    original / sizes and not clipped, like in the official post-processors. The `max_detections` best scores are kept.
    Coordinates are rounded to a thousandth of a pixel.
    """
    results = []
    for index, found in enumerate(detections):
        height, width = batch.original[index] / batch.sizes[index]
        boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4) * [width, height, width, height]
        scores, labels = np.asarray(found.scores, np.float64), np.asarray(found.labels)
        usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (scores >= score_threshold)
        best = np.flatnonzero(usable)
        best = best[np.argsort(-scores[best], kind="stable")][:max_detections]
        for i in best:
            category = category_of.get(int(labels[i]))
            if category is None:
                continue
            x1, y1, x2, y2 = boxes[i]
            results.append(
                {
                    "image_id": int(batch.image_ids[index]),
                    "category_id": int(category),
                    "bbox": [round(float(v), 3) for v in (x1, y1, x2 - x1, y2 - y1)],
                    "score": round(float(scores[i]), 8),
                }
            )
    return results


def evaluate(annotations: str | Path, detections: str | Path | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """COCO box metrics of a detection list (or file) against an annotation file, in the form of `coco.json`.

    Values lie in 0..1; None stands where pycocotools says -1 (nothing to measure, e.g. no small object at all). Images
    without detections count. `instances` are the annotations of a class that are not crowds. A dataset made from VOC
    files has VOC's own AP under `voc` as well.
    Raises UserError for a malformed annotation file or a detection that does not fit it.
    """
    document = ground_truth(annotations)
    results = checked_results(detections, document)
    judge = judged(document, results)
    report = {
        "metrics": {name: _defined(value) for name, value in zip(METRICS, judge.stats, strict=True)},
        "per_class": _per_class(judge, document),
        "images": len(document["images"]),
        "detections": len(results),
    }
    if document["info"].get("format") == "voc":
        report["voc"] = evaluate_voc(document, results, document["info"].get("one_based", False))
    return report


def judged(document: Document, results: list[ResultEntry]) -> COCOeval:
    """COCOeval after all its work: `eval["precision"]` [IoU, recall, class, area, detections], `evalImgs`, `stats`.

    `document` comes from `ground_truth`, `results` from `checked_results`.
    """
    with redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        truth.dataset = document
        truth.createIndex()
        if results:
            found = truth.loadRes(results)
        else:  # loadRes looks at the first result to learn what it was given
            found.dataset = {key: document[key] for key in ("images", "categories")} | {"annotations": []}
            found.createIndex()
        judge = COCOeval(truth, found, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def ground_truth(path: str | Path) -> Document:
    """The annotation document with `id`, `iscrowd` and `area` filled in where the source has none."""
    load_annotations(path, None)  # its error names the malformed entry
    document = read_json(path)
    annotations = []
    for position, entry in enumerate(document["annotations"]):
        defaults = {"id": position + 1, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]}
        annotations.append(defaults | entry)
    # Without this, an annotation with id 0 would count as "not matched": pycocotools stores the matched id itself.
    if any(entry["id"] == 0 for entry in annotations) or any("id" not in e for e in document["annotations"]):
        annotations = [entry | {"id": position + 1} for position, entry in enumerate(annotations)]
    info = document.get("info")
    kept = {key: document[key] for key in ("images", "categories")} | {"annotations": annotations}
    return kept | {"info": info if isinstance(info, dict) else {}}


def checked_results(detections: str | Path | Sequence[Mapping[str, Any]], document: Document) -> list[ResultEntry]:
    """Detections (a list or a file) that fit a ground truth. Raises UserError naming the entry that does not."""
    where = "detections"
    if isinstance(detections, str | Path):
        where, detections = str(detections), read_json(detections)
    if not isinstance(detections, Sequence):
        raise UserError(f"{where}: holds a {type(detections).__name__}, expected a list of detections")
    images = {image["id"] for image in document["images"]}
    categories = {category["id"] for category in document["categories"]}
    results = []
    for position, entry in enumerate(detections):
        at = f"{where}: [{position}]"
        if not isinstance(entry, Mapping):
            raise UserError(f"{at}: is a {type(entry).__name__}, expected an object")
        image, category, score = (entry.get(key) for key in ("image_id", "category_id", "score"))
        if image not in images:
            raise UserError(f"{at}: image_id {image!r} is not among the annotated images")
        if category not in categories:
            raise UserError(f"{at}: category_id {category!r} is not among the annotated categories")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise UserError(f"{at}: score is {score!r}, expected a finite number")
        box = finite_box(entry.get("bbox"), at)
        results.append({"image_id": image, "category_id": category, "bbox": box, "score": float(score)})
    return results


def _per_class(judge: COCOeval, document: Document) -> list[dict[str, Any]]:
    """AP, AP50 and the number of instances of each class; precision is [threshold, recall, class, area, detections]."""
    instances = dict.fromkeys(judge.params.catIds, 0)
    for annotation in document["annotations"]:
        instances[annotation["category_id"]] += 1 - annotation["iscrowd"]
    names = {category["id"]: category["name"] for category in document["categories"]}
    rows = []
    for index, category in enumerate(judge.params.catIds):
        precision = judge.eval["precision"][:, :, index, 0, -1]
        rows.append(
            {
                "id": int(category),
                "name": names[category],
                "AP": _defined(_mean(precision)),
                "AP50": _defined(_mean(precision[0])),
                "instances": instances[category],
            }
        )
    return rows


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def _defined(value: float) -> float | None:
    return None if value < 0 else float(value)
