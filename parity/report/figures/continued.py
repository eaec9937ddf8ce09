"""The loss around the point where another run continued a run, mostly in the other framework."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from parity.errors import UserError
from parity.files import read_json
from parity.report.figures.style import FOOTER, display, look, thin
from parity.train.record import read_metrics


def losses(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(steps, total losses) of a run's folder."""
    lines = [line for line in read_metrics(Path(folder) / "metrics.jsonl") if line["kind"] == "step"]
    return np.array([line["step"] for line in lines]), np.array([line["total"] for line in lines], float)


def differences(before: Path, after: Path) -> tuple[np.ndarray, np.ndarray]:
    """(steps, relative differences of the loss) where both runs took a step: the first one also went on by itself."""
    (first_steps, first), (second_steps, second) = losses(before), losses(after)
    shared = np.intersect1d(first_steps, second_steps)
    first, second = first[np.isin(first_steps, shared)], second[np.isin(second_steps, shared)]
    return shared, np.abs(second - first) / np.maximum(np.abs(first), 1e-12)


def continued(before: Path, after: Path) -> Figure:
    """Both loss curves, with the point marked; below, their difference where the first run went on as well.

    `before` and `after` are folders of runs; run.json of `after` says where that run began.
    """
    records = [read_json(Path(folder) / "run.json") for folder in (before, after)]
    origin = records[1].get("continued_from")
    if not origin:
        raise UserError(f"{after}/run.json: this run continued no other one")
    names = [record["framework"] for record in records]
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    figure.get_layout_engine().set(rect=(0, FOOTER / 5.2, 1, 1 - FOOTER / 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    figure.suptitle(
        f"{records[1]['model']} ({records[1]['variant']}): begun in {display(names[0])}, continued in"
        f" {display(names[1])} after step {origin['step']}",
        fontsize=11.5, x=0.01, ha="left",
    )  # fmt: skip
    for folder, name, width in ((before, names[0], 2.6), (after, names[1], 1.5)):
        style, (steps, values) = look(name), losses(folder)
        upper.plot(*thin(steps, values), color=style.color, linestyle=style.line, linewidth=width, label=display(name))
    upper.set(ylabel="total loss (weighted sum)")
    upper.legend()
    steps, apart = differences(before, after)
    if len(steps):
        lower.semilogy(*thin(steps, np.maximum(apart, 1e-9)), color="#000000", linewidth=1, marker=".")
    lower.set(xlabel="optimiser step", ylabel="relative difference")
    for axis in (upper, lower):
        axis.axvline(origin["step"] + 0.5, color="#555555", linewidth=0.8, linestyle=":")
    return figure
