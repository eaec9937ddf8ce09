"""Figures of the profile: step split, latency, memory."""

import numpy as np
from matplotlib.figure import Figure

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings, samples
from parity.report.figures.style import PARTS, canvas, display, empty, from_zero, look, shared_legend, short

NO_PROFILE = "no profile was recorded"
STEP_PARTS = (("data", "data"), ("forward_backward", "forward + backward"), ("optimizer", "optimiser"))


def step_time(comparison: Comparison, findings: Findings) -> Figure:
    """Stacked medians. Parts need not add up to the median of the whole step, which is marked by a line."""
    figure, ((axis,),) = canvas(comparison, "training step, median of its parts")
    settings = [s for s, p in comparison.profiles.items() if samples(p, "train", "step")]
    if not settings:
        empty(axis, NO_PROFILE)
        return figure
    left = np.zeros(len(settings))
    for (key, label), (color, hatch) in zip(STEP_PARTS, PARTS, strict=False):
        medians = np.array([np.median(samples(comparison.profiles[s], "train", key) or [0.0]) for s in settings])
        axis.barh(
            range(len(settings)), 1000 * medians, left=1000 * left, height=0.55, color=color, hatch=hatch,
            edgecolor="white", linewidth=0.8, label=label,
        )  # fmt: skip
        left += medians
    for row, setting in enumerate(settings):
        whole = 1000 * float(np.median(samples(comparison.profiles[setting], "train", "step")))
        axis.plot([whole, whole], [row - 0.36, row + 0.36], color="black", linewidth=1.6)
        edge = max(whole, 1000 * left[row])
        axis.annotate(f"{whole:.0f} ms", (edge, row), xytext=(6, 0), textcoords="offset points", va="center")
    axis.plot([], [], color="black", linewidth=1.6, label="whole step")
    batch = {(comparison.profiles[s].get("train") or {}).get("batch_size") for s in settings}
    axis.set_xlabel(f"milliseconds per step of {' or '.join(map(str, batch))} images")
    _rows(axis, comparison, settings)
    shared_legend(figure, [axis], 4)
    return figure


def latency_box(comparison: Comparison, findings: Findings) -> Figure:
    stages = ("preprocess", "forward", "postprocess", "total")
    figure, axes = canvas(comparison, "inference latency per image", 1, 4, (10.5, 3.9))
    for axis, stage in zip(axes[0], stages, strict=True):
        found = {s: samples(p, "latency", stage) for s, p in comparison.profiles.items()}
        found = {s: values for s, values in found.items() if values}
        if not found:
            empty(axis, f"{stage}: {NO_PROFILE}")
            continue
        boxes = axis.boxplot(
            [1000 * np.asarray(v) for v in found.values()], widths=0.55, patch_artist=True,
            medianprops={"color": "black", "linewidth": 1.5},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#555555"},
        )  # fmt: skip
        for box, setting in zip(boxes["boxes"], found, strict=True):
            box.set(facecolor=look(setting).color, hatch=look(setting).hatch, edgecolor="black", alpha=0.85)
        counts = "/".join(dict.fromkeys(str(len(v)) for v in found.values()))
        axis.set_title(f"{stage} (n = {counts})", fontsize=9.5)
        from_zero(axis)
        axis.set_xticks(range(1, len(found) + 1), [short(s) for s in found])
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("milliseconds")
    return figure


def latency_distribution(comparison: Comparison, findings: Findings) -> Figure:
    figure, ((axis,),) = canvas(comparison, "distribution of the inference latency")
    drawn = False
    for setting, profile in comparison.profiles.items():
        values = 1000 * np.sort(samples(profile, "latency", "total"))
        if not len(values):
            continue
        style = look(setting)
        share = 100 * np.arange(1, len(values) + 1) / len(values)
        axis.step(
            values, share, where="post", color=style.color, linestyle=style.line, linewidth=1.9,
            label=f"{display(setting, comparison)} (n = {len(values)})",
        )  # fmt: skip
        p50, p99 = np.quantile(values, [0.5, 0.99])
        axis.plot([p50, p99], [50, 99], linestyle="", marker=style.marker, color=style.color, markeredgecolor="black")
        drawn = True
    if not drawn:
        empty(axis, NO_PROFILE)
        return figure
    axis.set(xlabel="milliseconds per image (markers: p50 and p99)", ylabel="share of images at most this slow (%)")
    axis.set_ylim(0, 103)
    shared_legend(figure, [axis])
    return figure


def memory(comparison: Comparison, findings: Findings) -> Figure:
    figure, ((axis,),) = canvas(comparison, "peak memory")
    kinds = (("inference_peak_mb", "inference"), ("train_peak_mb", "training"))
    settings = [s for s, p in comparison.profiles.items() if any((p.get("memory") or {}).get(k) for k, _ in kinds)]
    if not settings:
        empty(axis, NO_PROFILE)
        return figure
    height = 0.8 / len(kinds)
    for i, (key, label) in enumerate(kinds):
        color, hatch = PARTS[i]
        values = [(comparison.profiles[s].get("memory") or {}).get(key) or 0.0 for s in settings]
        places = np.arange(len(settings)) + (i - 0.5) * height
        bars = axis.barh(places, values, height * 0.92, color=color, hatch=hatch, edgecolor="white", label=label)
        axis.bar_label(bars, [f"{v:.0f} MB" if v else "not recorded" for v in values], padding=4)
    meters = {(comparison.profiles[s].get("memory") or {}).get("meter") or "meter not recorded" for s in settings}
    axis.set_xlabel(f"MB (10⁶ bytes); {'; '.join(sorted(meters))}")
    _rows(axis, comparison, settings)
    shared_legend(figure, [axis])
    return figure


def _rows(axis, comparison: Comparison, settings: list[str]) -> None:
    """Settings as rows from the top, and room on the right for the numbers at the bars."""
    axis.set_yticks(range(len(settings)), [display(s, comparison) for s in settings])
    axis.set_ylim(len(settings) - 0.4, -0.6)
    axis.set_xlim(0, 1.15 * axis.dataLim.x1)
    axis.grid(axis="y", visible=False)
