"""The radar summary and the alignment trajectory."""

import numpy as np
from matplotlib.figure import Figure

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings, samples
from parity.report.figures.style import canvas, display, empty, look, shared_legend

TRAJECTORY_LIMIT = 1e-3  # bound on the relative loss difference when alignment.json names none


def axes_of_summary(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Axis title -> framework -> value scaled to the best framework (1 = best, more is better everywhere).

    Accuracy is the mean over seeds. An axis that not every framework measured, or whose best is 0, is left out.
    """
    names = [n for n in comparison.frameworks if comparison.of(n) or n in comparison.profiles]

    def metric(key: str):
        def read(name: str) -> float | None:
            values = [run.final(key) for run in comparison.of(name)]
            values = [v for v in values if v is not None]
            return float(np.mean(values)) if values else None

        return read

    def inverse(read):
        return lambda name: 1 / value if (value := read(name)) else None

    def median(section: str, key: str):
        def read(name: str) -> float | None:
            values = samples(comparison.profiles.get(name) or {}, section, key)
            return float(np.median(values)) if values else None

        return read

    def peak(key: str):
        return lambda name: ((comparison.profiles.get(name) or {}).get("memory") or {}).get(key)

    table = {
        "AP": metric("AP"),
        "AP50": metric("AP50"),
        "AR100": metric("AR100"),
        "inference\nspeed": inverse(median("latency", "total")),
        "training\nspeed": inverse(median("train", "step")),
        "inference\nmemory, inverse": inverse(peak("inference_peak_mb")),
        "training\nmemory, inverse": inverse(peak("train_peak_mb")),
    }
    result = {}
    for title, read in table.items():
        values = {name: read(name) for name in names}
        if values and all(v is not None and np.isfinite(v) for v in values.values()) and max(values.values()) > 0:
            best = max(values.values())
            result[title] = {name: value / best for name, value in values.items()}
    return result


def radar(comparison: Comparison, findings: Findings) -> Figure:
    scaled = axes_of_summary(comparison)
    title = "summary, each axis relative to the better framework"
    if len(scaled) < 3:
        figure, ((axis,),) = canvas(comparison, title)
        empty(axis, f"{len(scaled)} quantities were measured in every framework; a radar needs at least 3")
        return figure
    figure, axes = canvas(comparison, title, size=(6.6, 5.6))
    axes[0, 0].remove()
    axis = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(scaled), endpoint=False)
    axis.set_theta_offset(np.pi / 2)
    axis.set_theta_direction(-1)
    names = list(next(iter(scaled.values())))
    for name in names:
        style = look(name)
        values = [values[name] for values in scaled.values()]
        axis.plot(
            [*angles, angles[0]], [*values, values[0]], color=style.color, linestyle=style.line, linewidth=2,
            marker=style.marker, markersize=5, label=display(name, comparison),
        )  # fmt: skip
        axis.fill(angles, values, color=style.color, alpha=0.08)
    axis.set_xticks(angles, list(scaled))
    axis.tick_params(axis="x", pad=8)
    for label, angle in zip(axis.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)  # labels grow away from the circle
        label.set_horizontalalignment("center" if abs(side) < 0.2 else "left" if side > 0 else "right")
    axis.set_ylim(0, 1.05)
    axis.set_yticks([0.25, 0.5, 0.75, 1.0], ["0.25", "0.5", "0.75", "1 (best)"], fontsize=7.5, color="#555555")
    only = " (one framework: every axis is 1 by construction)" if len(names) == 1 else ""
    shared_legend(figure, [axis], 2, f"outward is better{only}")
    return figure


ROUNDING = 1e-8  # below float32: where the figure draws a difference of 0


def trajectory(alignment: dict | None, key: str = "relative_difference") -> list[float]:
    """Relative loss difference at each step from alignment.json, or another of its curves; empty when it holds none."""
    values = ((alignment or {}).get("trajectory") or {}).get(key) or []
    return [float("nan") if v is None else float(v) for v in values]


def alignment(comparison: Comparison, findings: Findings) -> Figure:
    figure, ((axis,),) = canvas(comparison, "loss difference between the frameworks on equal batches")
    values = trajectory(comparison.alignment)
    if not values:
        empty(axis, "the alignment ladder was not run or recorded no trajectory")
        return figure
    steps = np.arange(1, len(values) + 1)
    names = (comparison.alignment.get("frameworks") or ["one", "the other"])[:2]
    shadow, limits = (trajectory(comparison.alignment, key) for key in ("shadow", "limits"))
    marker = "." if len(values) < 200 else None
    axis.plot(
        steps, values, color=look("torch").color, marker=marker, linewidth=1.2, label=f"{names[-1]} and {names[0]}"
    )
    if shadow:
        label = f"{names[0]} and itself, the last bits of the weights changed"
        axis.plot(steps[: len(shadow)], shadow[: len(steps)], color="#999999", linewidth=1, label=label)
    if limits:
        axis.plot(
            steps[: len(limits)], limits[: len(steps)], color="black", linewidth=0.8, linestyle=":", label="allowed"
        )
    anchors = comparison.alignment["trajectory"].get("anchors") or {"steps": [], "relative_difference": []}
    if anchors["steps"]:
        apart = [max(float(value or 0.0), ROUNDING) for value in anchors["relative_difference"]]
        label = f"{names[-1]} and {names[0]}, one step from the same weights (equal: drawn at {ROUNDING:g})"
        axis.plot(anchors["steps"], apart, color=look("jittor").color, marker="D", linestyle="none", label=label)
    if shadow or limits or anchors["steps"]:
        axis.legend(fontsize=8)
    limit = comparison.alignment["trajectory"].get("limit") or TRAJECTORY_LIMIT
    axis.axhline(limit, color="black", linestyle=(0, (4, 3)), linewidth=1)
    axis.annotate(
        f"tolerance {limit:g}", (steps[0], limit), xytext=(0, 4),
        textcoords="offset points", fontsize=8,
    )  # fmt: skip
    if np.nanmax(values) > 0:
        axis.set_yscale("log", nonpositive="mask")
    axis.set(xlabel="optimiser step", ylabel="|loss difference| / loss")
    return figure
