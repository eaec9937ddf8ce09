"""The figures of a study: the pairs as lines, and the interval at each look against the margin with the null arm."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from parity.files import atomic
from parity.report.figures.style import look
from parity.study.protocol import Protocol
from parity.study.verdict import Judgement, null_interval

GREY = "#555555"


def draw(title: str, judgement: Judgement, protocol: Protocol) -> Figure:
    """One figure of a start that has at least one pair with a value."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    _pairs(left, judgement)
    _looks(right, judgement, protocol)
    return figure


def _pairs(axis, judgement: Judgement) -> None:
    """A line for each seed from its PyTorch to its Jittor value; small marks are the single runs."""
    for pair in judgement.pairs:
        torch, jittor = pair.values("torch"), pair.values("jittor")
        if not torch or not jittor:
            continue
        axis.plot([0, 1], [np.mean(torch), np.mean(jittor)], color=GREY, linewidth=0.9, zorder=1)
        for place, name, values in ((0, "torch", torch), (1, "jittor", jittor)):
            style = look(name)
            axis.scatter([place] * len(values), values, s=9, color=style.color, marker=style.marker, alpha=0.5)
            axis.scatter([place], [np.mean(values)], s=26, color=style.color, marker=style.marker, zorder=2)
    axis.set(xlim=(-0.3, 1.3), ylabel="AP on the exam (points)", title="pairs: mean over draws, single runs small")
    axis.set_xticks([0, 1], [look("torch").label, look("jittor").label])


def _looks(axis, judgement: Judgement, protocol: Protocol) -> None:
    """Jittor - PyTorch with its interval at each look, beside each framework against itself."""
    looks = [entry for entry in judgement.looks if np.isfinite(entry.low)]
    margin = looks[-1].margin if looks else protocol.margin
    axis.axhspan(-margin, margin, color="#e8f1e4", zorder=0, label=f"margin ±{margin:g}")
    axis.axhline(0, color=GREY, linewidth=0.8)
    for number, entry in enumerate(looks):
        bars = [("Jittor − PyTorch", "#000000", "D", (entry.low, entry.high))]
        for name in ("torch", "jittor"):
            interval = null_interval(judgement.pairs[: entry.pairs], protocol.level, name)
            bars.append((f"{look(name).label} against itself", look(name).color, look(name).marker, interval))
        for offset, (label, color, marker, (low, high)) in zip((-0.2, 0.0, 0.2), bars, strict=True):
            middle = (low + high) / 2
            axis.errorbar(
                number + offset, middle, middle - low, color=color, marker=marker, markersize=4, capsize=3,
                label=label if not number else None,
            )  # fmt: skip
    axis.set_xticks(range(len(looks)), [str(entry.pairs) for entry in looks])
    axis.set_xlim(-0.5, max(len(looks), 1) - 0.5)  # a single look keeps its bars together
    axis.set(xlabel="pairs at the look", ylabel="difference in AP (points)", title="interval at each look")
    if not looks:
        axis.text(0.5, 0.6, f"the first look is after {protocol.looks[0]} pairs", transform=axis.transAxes, ha="center")
    axis.legend(fontsize=8)


def write(path: Path, figure: Figure) -> None:
    """Write a PNG whose bytes depend on the drawing alone."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
