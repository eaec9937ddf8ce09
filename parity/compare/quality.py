"""Curves, best thresholds and confusions of one set of detections together, and of every run of a comparison."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from parity.compare.comparison import Comparison
from parity.compare.confusion import BACKGROUND, confusion
from parity.compare.precision_recall import BestF1, Curve, curves
from parity.errors import UserError
from parity.train.evaluate import checked_results, ground_truth, judged


@dataclass(frozen=True)
class Quality:
    """How well one set of detections fits the ground truth.

    curves: that of all classes, then of each class. confusion [classes + 1, classes + 1]: objects in rows, detections
    in columns, background last, at the threshold of `best`; None where no detection is right.
    """

    curves: list[Curve]
    confusion: np.ndarray | None

    @property
    def best(self) -> BestF1 | None:
        """The best threshold of all classes pooled."""
        return self.curves[0].best

    @property
    def labels(self) -> list[str]:
        """Names of the rows and columns of the confusion table."""
        return [*(curve.name for curve in self.curves[1:]), BACKGROUND]


def quality(annotations: Path, detections: Path) -> Quality:
    """Quality of a file in COCO results format. Raises UserError naming the file that cannot be used."""
    stamps = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in map(Path, (annotations, detections)))
    return _quality(Path(annotations), Path(detections), stamps)


@lru_cache(maxsize=32)
def _quality(annotations: Path, detections: Path, stamps: tuple[int, ...]) -> Quality:
    """`stamps` are the times of both files, so that the tables and figures of one report share a result."""
    document = ground_truth(annotations)
    judge = judged(document, checked_results(detections, document))
    lines = curves(judge, {category["id"]: category["name"] for category in document["categories"]})
    best = lines[0].best
    return Quality(lines, None if best is None else confusion(judge, best.threshold))


def qualities(comparison: Comparison) -> tuple[dict[str, list[Quality]], dict[str, str]]:
    """By framework: the quality of the final weights of each seed, and why there is none where it is missing."""
    found: dict[str, list[Quality]] = {}
    missing: dict[str, str] = {}
    for run in comparison.runs:
        try:
            if comparison.dataset_dir is None:
                raise UserError("no dataset is named in comparison.json")
            annotations = comparison.dataset_dir / "annotations/val.json"
            found.setdefault(run.framework, []).append(quality(annotations, run.detections))
        except UserError as error:
            missing.setdefault(run.framework, str(error))
    return found, missing
