"""Figures of training: loss, components, AP, AR, learning rate, epoch time."""

import re
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from parity.compare.comparison import Comparison, Run
from parity.compare.findings import Findings
from parity.compare.stats import smooth
from parity.report.figures.style import canvas, display, empty, from_zero, look, shared_legend, thin

NO_STEPS = "no step was recorded in metrics.jsonl"
NO_EPOCHS = "no epoch was recorded in metrics.jsonl"
NO_METRICS = "no evaluation was recorded in metrics.jsonl"
MARKERS = 25  # markers on a curve; the white edges of more markers would cover the line
MAX_COMPONENTS = 48  # panels of the component grid; further ones are in the table per_epoch

AP_SMOOTHING = 0.6  # TensorBoard's first setting; few evaluations bear no more smoothing

Series = Callable[[Run], tuple[list[float], list[float]]]


def draw(axis: Axes, comparison: Comparison, read: Series, why: str, marker: bool = False) -> bool:
    """Curves of every framework: one thin line per seed, the mean of all seeds thick. False when there was nothing.

    With one seed that seed is the mean. The mean covers the positions that every seed has.
    """
    drawn = False
    for place, name in enumerate(comparison.frameworks):
        # the first framework is drawn wider, so that a second curve on top of it does not hide it
        width, dot = (2.6, 6.5) if place == 0 else (1.5, 4.0)
        curves = [(np.asarray(x, float), np.asarray(y, float)) for x, y in map(read, comparison.of(name)) if len(x)]
        if not curves:
            continue
        style = look(name)
        common = sorted(set.intersection(*(set(x.tolist()) for x, _ in curves)))
        if len(curves) > 1:
            for x, y in curves:
                axis.plot(*thin(x, y), color=style.color, linestyle=style.line, linewidth=0.7, alpha=0.55)
        if common:
            width = width if len(common) < 150 else 0.6 * width  # a noisy wide curve would become an area
            mean = np.mean([y[np.isin(x, common)] for x, y in curves], axis=0)
            label = display(name) + (f", mean of {len(curves)} seeds" if len(curves) > 1 else "")
            dots = style.marker if marker or len(common) == 1 else None
            x, y = thin(common, mean)
            axis.plot(
                x, y, color=style.color, linestyle=style.line, linewidth=width, label=label,
                marker=dots, markersize=dot, markeredgecolor="white", markeredgewidth=0.5,
                markevery=-(-len(x) // MARKERS),
            )  # fmt: skip
        drawn = True
    if not drawn:
        empty(axis, why)
    return drawn


def missing(comparison: Comparison) -> str:
    """Frameworks that were asked for but left no run, as words for a title; empty when all are there."""
    absent = [display(name) for name in comparison.frameworks if not any(run.steps for run in comparison.of(name))]
    return f" (nothing recorded for {', '.join(absent)})" if absent else ""


def whole_numbers(axis: Axes) -> None:
    """Ticks at whole steps or epochs only, also where there is a single one."""
    if axis.dataLim.width == 0:
        axis.set_xlim(axis.dataLim.x0 - 1, axis.dataLim.x0 + 1)
        axis.set_xticks([axis.dataLim.x0])
        axis.xaxis.set_major_formatter("{x:.0f}")
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def totals(run: Run) -> tuple[list[float], list[float]]:
    """Total loss by step; a step without a number (NaN) leaves a gap."""
    return [s["step"] for s in run.steps], [np.nan if s.get("total") is None else s["total"] for s in run.steps]


def loss(comparison: Comparison, findings: Findings) -> Figure:
    figure, ((axis,),) = canvas(comparison, "training loss" + missing(comparison))
    if draw(axis, comparison, totals, NO_STEPS):
        axis.set(xlabel="optimiser step", ylabel="total loss (weighted sum)")
        whole_numbers(axis)
        axis.legend()
    return figure


def loss_smoothed(comparison: Comparison, findings: Findings) -> Figure:
    factor = comparison.setting("figures", "smoothing", default=0.9)
    title = f"smoothed training loss (exponential, weight of the past {factor:g})" + missing(comparison)
    figure, ((axis,),) = canvas(comparison, title)
    for run in comparison.runs:
        if run.steps:
            axis.plot(*thin(*totals(run)), color=look(run.framework).color, linewidth=0.5, alpha=0.3)

    def read(run: Run) -> tuple[list[float], list[float]]:
        steps, values = totals(run)
        return steps, smooth(values, factor).tolist()

    if draw(axis, comparison, read, NO_STEPS):
        axis.set(xlabel="optimiser step", ylabel="total loss (weighted sum)")
        finite = [v for run in comparison.runs for v in totals(run)[1] if np.isfinite(v)]
        if finite and min(finite) > 0 and max(finite) > 20 * float(np.median(finite)):
            axis.set_yscale("log")
        whole_numbers(axis)
        axis.legend()
    return figure


def components(comparison: Comparison) -> list[str]:
    """Names of the loss components of all runs: the main ones first, then layer by layer (`_aux_0`, `_dn_0`, ...)."""
    names = {name for run in comparison.runs for epoch in run.epochs for name in epoch.get("losses") or {}}

    def place(name: str) -> tuple[str, str, str]:
        match = re.search(r"_(aux|dn|enc)_?(\d*)", name)
        return (match[1], match[2].zfill(3), name) if match else ("", "", name)

    return sorted(names, key=place)


def loss_components(comparison: Comparison, findings: Findings) -> Figure:
    names = components(comparison)
    shown = names[:MAX_COMPONENTS]
    rest = f"; {len(names) - len(shown)} more in tables/per_epoch.csv" if len(names) > len(shown) else ""
    columns = min(3 if len(shown) <= 21 else 6, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    size = (3.1 * columns + 1, (2.2 if rows < 5 else 1.7) * rows + 0.8) if shown else (7.0, 4.2)
    figure, axes = canvas(comparison, "loss components, mean of each epoch" + rest, rows, columns, size)
    for axis, name in zip(axes.flat, shown, strict=False):

        def read(run: Run, name: str = name) -> tuple[list[float], list[float]]:
            pairs = [(e["epoch"], (e.get("losses") or {}).get(name)) for e in run.epochs]
            return [x for x, y in pairs if y is not None], [y for _, y in pairs if y is not None]

        draw(axis, comparison, read, "not recorded", marker=True)
        axis.set_title(name, fontsize=9)
        whole_numbers(axis)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    if not shown:
        empty(axes[0, 0], NO_EPOCHS)
        return figure
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for row in axes:
        row[0].set_ylabel("weighted loss")
    shared_legend(figure, axes.flat)
    return figure


def _metric_panels(
    comparison: Comparison, title: str, metrics: tuple[str, ...], unit: str, factor: float = 0.0
) -> Figure:
    """One panel per metric; smoothed with `factor` as the weight of the past."""
    figure, axes = canvas(comparison, title, 1, len(metrics), (9.6, 3.7))
    for axis, metric in zip(axes[0], metrics, strict=True):

        def read(run: Run, metric: str = metric) -> tuple[list[float], list[float]]:
            epochs, values = run.curve(metric)
            return epochs, (100 * smooth(values, factor)).tolist()

        if draw(axis, comparison, read, f"{metric}: {NO_METRICS}", marker=True):
            axis.set(xlabel="epoch", title=metric)
            from_zero(axis)
            whole_numbers(axis)
    axes[0, 0].set_ylabel(unit)
    shared_legend(figure, axes.flat)
    return figure


def ap_curves(comparison: Comparison, findings: Findings) -> Figure:
    return _metric_panels(
        comparison, "average precision on the validation images", ("AP", "AP50", "AP75"), "average precision (points)"
    )


def ap_smoothed(comparison: Comparison, findings: Findings) -> Figure:
    title = f"smoothed average precision (exponential, weight of the past {AP_SMOOTHING:g})"
    return _metric_panels(comparison, title, ("AP", "AP50", "AP75"), "average precision (points)", AP_SMOOTHING)


def ar_curves(comparison: Comparison, findings: Findings) -> Figure:
    return _metric_panels(
        comparison, "average recall on the validation images", ("AR1", "AR10", "AR100"), "average recall (points)"
    )


def learning_rate(comparison: Comparison, findings: Findings) -> Figure:
    figure, ((axis,),) = canvas(comparison, "learning rate" + missing(comparison))
    drawn = False
    widths = {name: 3.2 - 1.7 * min(i, 1) for i, name in enumerate(comparison.frameworks)}
    for name in comparison.frameworks:
        for run in comparison.of(name)[:1]:  # every seed uses the same schedule; the audit holds them to it
            steps = [s["step"] for s in run.steps if s.get("lr")]
            rates = [s["lr"] for s in run.steps if s.get("lr")]
            curves = list(dict.fromkeys(zip(*rates, strict=True))) if rates else []  # equal groups are one line
            style = look(name)
            for i, curve in enumerate(curves):
                label = display(name) + (f", {len(curves)} different groups" if len(curves) > 1 else "")
                axis.plot(
                    *thin(steps, list(curve)), color=style.color, linestyle=style.line, linewidth=widths[name],
                    marker=style.marker if len(steps) == 1 else None, label=label if i == 0 else None,
                )  # fmt: skip
                drawn = True
    if not drawn:
        empty(axis, NO_STEPS)
        return figure
    axis.set(xlabel="optimiser step", ylabel="learning rate")
    from_zero(axis)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    whole_numbers(axis)
    axis.legend()
    return figure


def epoch_time(comparison: Comparison, findings: Findings) -> Figure:
    figure, axes = canvas(comparison, "wall-clock time of each epoch" + missing(comparison), 1, 2, (8.4, 3.8))
    for axis, key, title in zip(axes[0], ("train", "evaluate"), ("training", "evaluation"), strict=True):

        def read(run: Run, key: str = key) -> tuple[list[float], list[float]]:
            pairs = [(e["epoch"], (e.get("seconds") or {}).get(key)) for e in run.epochs]
            return [x for x, y in pairs if y is not None], [y for _, y in pairs if y is not None]

        if draw(axis, comparison, read, f"{title}: {NO_EPOCHS}", marker=True):
            axis.set(xlabel="epoch", ylabel="seconds", title=title)
            from_zero(axis)
            whole_numbers(axis)
    shared_legend(figure, axes.flat)
    return figure
