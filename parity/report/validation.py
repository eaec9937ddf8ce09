"""The output of `make validate` for one run besides COCO's metrics: curves, best thresholds, confusions."""

from pathlib import Path

import pandas as pd

from parity.compare.quality import Quality
from parity.measure.macs import flops
from parity.report import quality as tables
from parity.report.figures import quality as figures
from parity.report.figures.style import write
from parity.report.report import fixed, number
from parity.report.tables import write_all

SHOWN = 21  # lines of a table on the terminal; all are in the files
MISTAKES = 12


def save(framework: str, found: Quality, folder: Path, title: str) -> list[Path]:
    """Write precision_recall, best_f1 and confusion as .csv, and the two figures as .png and .svg."""
    runs = {framework: [found]}
    written = write_all(
        {stem: getattr(tables, stem)(runs) for stem in ("precision_recall", "best_f1", "confusion")}, folder
    )
    for stem, draw in (("precision_recall", figures.draw_curves), ("confusion", figures.draw_confusions)):
        written += write(draw(title, runs, {}), folder, stem, title)
    return written


def text(framework: str, found: Quality, macs: int | None) -> str:
    """The same as text for the terminal."""
    runs = {framework: [found]}
    rows = tables.best_f1(runs)
    lines = ["score threshold with the best F1 at IoU .50 (all classes: detections of all classes pooled)"]
    header = ("class", "objects", "threshold", "F1", "precision", "recall")
    lines += _table(header, [(row[0], number(row[1]), *(fixed(v, 3) for v in row[2:])) for row in _rows(rows)])
    best, wrong = found.best, tables.mistakes(tables.confusion(runs), MISTAKES)
    if best is None:
        lines += ["", "no detection is right, so that there are no confusions to count"]
    else:
        lines += ["", f"mistakes at score >= {best.threshold:.3g}, IoU .50"]
        lines += ["(an object detected as background was missed; background detected as something was invented)"]
        lines += _table(("object", "detected as", "count"), [(a, b, number(n)) for a, b, n in _rows(wrong)])
    if macs is not None:
        lines += ["", f"{macs:,} multiply-accumulates of one image, {flops(macs):,} FLOPs (2 x multiply-accumulates)"]
    return "\n".join(lines)


def _rows(frame: pd.DataFrame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def _table(header: tuple[str, ...], rows: list[tuple]) -> list[str]:
    """Lines with aligned columns, SHOWN rows at most."""
    shown = [header, *(tuple(map(str, row)) for row in rows[:SHOWN])]
    widths = [max(len(row[i]) for row in shown) for i in range(len(header))]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return lines + ([f"... and {len(rows) - SHOWN} more in the files"] if len(rows) > SHOWN else [])
