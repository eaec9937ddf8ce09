"""Tables of precision, recall, F1 and confusions, from the detections of the final weights.

They take the quality of each framework's runs, one per seed, and give means over the seeds.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from parity.compare.precision_recall import RECALLS, Curve
from parity.compare.quality import Quality

Qualities = Mapping[str, Sequence[Quality]]  # by framework
F1 = {"threshold": "threshold", "F1": "f1", "precision": "precision", "recall": "recall"}  # column: field of BestF1


def mean_curve(runs: Sequence[Quality], place: int, kind: str) -> np.ndarray:
    """[101] a curve (`at50` or `mean`) by its place, averaged over runs."""
    return np.mean([getattr(run.curves[place], kind) for run in runs], axis=0)


def mean_best(runs: Sequence[Quality], place: int, key: str) -> float | None:
    """A number at the best threshold, averaged over the runs that have one."""
    values = [getattr(best, key) for run in runs if (best := run.curves[place].best) is not None]
    return float(np.mean(values)) if values else None


def rows_of(found: Qualities) -> list[Curve]:
    """All classes, then each class: names and numbers of objects are the same in every run."""
    return next((runs[0].curves for runs in found.values() if runs), [])


def precision_recall(found: Qualities) -> pd.DataFrame:
    """Precision (0..1) at each of 101 recalls, class by class: at IoU .50, and the mean over IoU .50 to .95."""
    names = list(found)
    columns = [f"{kind} {name}" for kind in ("IoU .50", "IoU .50:.95") for name in names]
    parts = []
    for place, row in enumerate(rows_of(found)):
        part = {"class": row.name, "recall": RECALLS}
        for kind, key in (("IoU .50", "at50"), ("IoU .50:.95", "mean")):
            part |= {f"{kind} {name}": mean_curve(found[name], place, key) for name in names}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["class", "recall", *columns])


def best_f1(found: Qualities) -> pd.DataFrame:
    """The threshold with the best F1 at IoU .50, and F1, precision and recall there, frameworks side by side."""
    rows = []
    for place, row in enumerate(rows_of(found)):
        line = {"class": row.name, "objects": row.objects}
        for column, key in F1.items():
            line |= {f"{column} {name}": mean_best(runs, place, key) for name, runs in found.items()}
        rows.append(line)
    return pd.DataFrame(rows, columns=["class", "objects", *(f"{column} {name}" for column in F1 for name in found)])


def mean_confusion(runs: Sequence[Quality]) -> np.ndarray | None:
    """Confusion counts averaged over runs; None where no run has any."""
    tables = [run.confusion for run in runs if run.confusion is not None]
    return np.mean(tables, axis=0) if tables else None


def confusion(found: Qualities) -> pd.DataFrame:
    """What each class was detected as, in counts: one row for every pair of classes that occurs.

    Right detections come first, then the mistakes, the most frequent ones first.
    """
    tables = {name: mean_confusion(runs) for name, runs in found.items()}
    known = [table for table in tables.values() if table is not None]
    labels = next(runs[0].labels for runs in found.values() if runs) if known else []
    rows = []
    for i, j in zip(*np.nonzero(np.sum(known, axis=0)), strict=True) if known else ():
        counts = {name: None if table is None else float(table[i, j]) for name, table in tables.items()}
        rows.append({"object": labels[i], "detected as": labels[j], **counts, "right": i == j})
    frame = pd.DataFrame(rows, columns=["object", "detected as", *found, "right"])
    if rows:
        frame["sum"] = frame[list(found)].sum(axis=1)
        frame = frame.sort_values(["right", "sum"], ascending=False, kind="stable", ignore_index=True)
    return frame.drop(columns=["right", "sum"], errors="ignore")


def mistakes(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` most frequent rows of a confusion table that are no right detections."""
    return table[table["object"] != table["detected as"]].head(count)
