"""Every figure of a report: one function per stem of `parity.report.index.FIGURES`.

A figure function takes (Comparison, Findings) and returns a matplotlib figure. It never fails for lack of data: the
figure says what is missing.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings
from parity.errors import UserError
from parity.report.figures import curves, detections, quality, speed, summary
from parity.report.figures.style import save
from parity.report.index import FIGURES

DRAW: dict[str, Callable[[Comparison, Findings], Figure]] = {
    "loss": curves.loss,
    "loss_smoothed": curves.loss_smoothed,
    "loss_components": curves.loss_components,
    "ap_curves": curves.ap_curves,
    "ap_smoothed": curves.ap_smoothed,
    "ar_curves": curves.ar_curves,
    "precision_recall": quality.precision_recall,
    "confusion": quality.confusion,
    "learning_rate": curves.learning_rate,
    "epoch_time": curves.epoch_time,
    "step_time": speed.step_time,
    "latency_box": speed.latency_box,
    "latency_distribution": speed.latency_distribution,
    "memory": speed.memory,
    "radar": summary.radar,
    "detections": detections.detections,
    "alignment": summary.alignment,
}


def draw_all(
    comparison: Comparison, findings: Findings, folder: Path, stems: Iterable[str] | None = None
) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg` of all (or the named) figures. Raises UserError for an unknown stem."""
    written = []
    for stem in stems or FIGURES:
        if stem not in DRAW:
            raise UserError(f"figure {stem!r}: unknown, expected one of {', '.join(DRAW)}")
        written += save(DRAW[stem](comparison, findings), comparison, folder, stem)
    return written
