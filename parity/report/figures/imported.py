"""Figures of two imported logs. Nine of them are those of the published GFocalV2 comparison (`NINE`).

A figure function takes a `Pair` and returns a matplotlib figure; the figure says what a log does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite, pi
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity.compare.stats import smooth
from parity.logs import spans
from parity.logs.record import Run
from parity.logs.speed import Speed
from parity.report.figures.curves import AP_SMOOTHING, MARKERS, MAX_COMPONENTS, whole_numbers
from parity.report.figures.style import Look, empty, from_zero, look, shared_legend, sheet, thin, write

NINE = (
    "loss",
    "loss_smoothed",
    "ap_curves",
    "ar_curves",
    "speed",
    "epoch_time",
    "radar",
    "inference_time",
    "inference_box",
)
SMOOTHING = 0.9


@dataclass(frozen=True)
class Pair:
    """One or two runs under the names that the user gave them."""

    title: str
    names: list[str]
    runs: list[Run]
    speed: Speed | None

    def looks(self) -> list[Look]:
        """Jittor and PyTorch have their usual looks; other names get one by their place."""
        found = []
        for place, name in enumerate(self.names):
            low = name.lower()
            key = "jittor" if "jittor" in low else "torch" if "torch" in low else ("torch", "jittor")[place]
            found.append(replace(look(key), label=name))
        if len(found) == 2 and found[0].color == found[1].color:
            found[1] = replace(look("jittor-stock"), label=self.names[1])
        return found


Series = tuple[list[float], list[float]]


def curves(axis: Axes, pair: Pair, series: list[Series], why: str) -> bool:
    """One curve per side; a side without numbers is named below the axis. False when there is none at all."""
    drawn, missing = False, []
    for place, (style, (x, y)) in enumerate(zip(pair.looks(), series, strict=True)):
        if not x:
            missing.append(style.label)
            continue
        x, y = thin(x, y)
        axis.plot(
            x,
            y,
            color=style.color,
            linestyle=style.line,
            linewidth=(2.2, 1.4)[place] if len(x) < 400 else 0.9,
            label=style.label,
            marker=style.marker if len(x) <= 60 else None,
            markersize=(5.5, 4.0)[place],
            markeredgecolor="white",
            markeredgewidth=0.5,
            markevery=-(-len(x) // MARKERS),
        )
        drawn = True
    if not drawn:
        empty(axis, why)
    elif missing:
        absent(axis, missing)
    return drawn


def absent(axis: Axes, names: list[str]) -> None:
    """Say in a corner which side has nothing to show here."""
    axis.text(
        0.99,
        0.02,
        f"not recorded: {', '.join(names)}",
        transform=axis.transAxes,
        ha="right",
        va="bottom",
        fontsize=8,
        color="#555555",
    )


def shared_unit(pair: Pair, name: str) -> list[Series]:
    """A loss of every side over the same unit: epochs as soon as one side logs nothing else."""
    held = [run for run in pair.runs if name in run.steps or name in run.epochs]
    if all(name in run.steps for run in held):
        return [run.steps.pairs("x", name) for run in pair.runs]
    return [run.epochs.pairs("epoch", name) for run in pair.runs]


def unit(pair: Pair, name: str) -> str:
    held = [run for run in pair.runs if name in run.steps or name in run.epochs]
    return "iteration" if all(name in run.steps for run in held) else "epoch"


def loss(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: training loss as logged")
    if curves(axis, pair, shared_unit(pair, "loss"), "no total loss in either log"):
        axis.set(xlabel=unit(pair, "loss"), ylabel="total loss")
        whole_numbers(axis)
        axis.legend()
    return figure


def loss_smoothed(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: smoothed training loss (exponential, weight of the past {SMOOTHING:g})")
    raw = shared_unit(pair, "loss")
    for style, (x, y) in zip(pair.looks(), raw, strict=True):
        if x:
            axis.plot(*thin(x, y), color=style.color, linewidth=0.6, alpha=0.35)
    smoothed = [(x, smooth(y, SMOOTHING).tolist()) for x, y in raw]
    if curves(axis, pair, smoothed, "no total loss in either log"):
        axis.set(xlabel=unit(pair, "loss"), ylabel="total loss")
        whole_numbers(axis)
        axis.legend()
    return figure


def loss_components(pair: Pair) -> Figure:
    names = list(dict.fromkeys(name for run in pair.runs for name in run.losses()))
    shown = names[:MAX_COMPONENTS]
    columns = min(3 if len(shown) <= 21 else 6, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    rest = f"; {len(names) - len(shown)} more in tables/per_epoch.csv" if len(names) > len(shown) else ""
    size = (3.1 * columns + 1, (2.2 if rows < 5 else 1.7) * rows + 0.8) if shown else (7.0, 4.2)
    figure, axes = sheet(f"{pair.title}: loss components{rest}", rows, columns, size)
    for axis, name in zip(axes.flat, shown, strict=False):
        curves(axis, pair, shared_unit(pair, name), "not recorded")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel(unit(pair, name), fontsize=8)
        whole_numbers(axis)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    if not shown:
        empty(axes[0, 0], "no loss component in either log")
    else:
        shared_legend(figure, axes.flat)
    return figure


def metric_panels(pair: Pair, title: str, rows: list[tuple[str, ...]], none: str) -> Figure:
    """One panel per metric that a log holds."""
    held = [[m for m in row if any(m in run.evaluations for run in pair.runs)] for row in rows]
    held = [row for row in held if row]
    if not held:
        figure, ((axis,),) = sheet(f"{pair.title}: {title}")
        empty(axis, none)
        return figure
    columns = max(len(row) for row in held)
    figure, axes = sheet(f"{pair.title}: {title}", len(held), columns, (3.1 * columns + 0.6, 2.7 * len(held) + 0.9))
    for row, metrics in zip(axes, held, strict=True):
        for axis, metric in zip(row, metrics, strict=False):
            series = [run.evaluations.pairs("at", metric) for run in pair.runs]
            series = [(x, [100 * v for v in y]) for x, y in series]
            if curves(axis, pair, series, "not recorded"):
                axis.set(title=metric, xlabel=evaluated_at(pair))
                from_zero(axis)
                whole_numbers(axis)
        for axis in row[len(metrics) :]:
            axis.set_axis_off()
        row[0].set_ylabel("points (0 to 100)")
    shared_legend(figure, axes.flat)
    return figure


def evaluated_at(pair: Pair) -> str:
    return "epoch" if all("epoch" in r.evaluations for r in pair.runs if len(r.evaluations)) else "epoch or iteration"


def ap_curves(pair: Pair) -> Figure:
    rows = [("AP", "AP50", "AP75"), ("APs", "APm", "APl")]
    return metric_panels(pair, "average precision as logged", rows, "no average precision in either log")


def ar_curves(pair: Pair) -> Figure:
    rows = [("AR1", "AR10", "AR100", "AR300", "AR1000"), ("ARs", "ARm", "ARl")]
    return metric_panels(pair, "average recall as logged", rows, "no average recall in either log")


def learning_rate(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: learning rate as logged")
    if curves(axis, pair, shared_unit(pair, "lr"), "no learning rate in either log"):
        axis.set(xlabel=unit(pair, "lr"), ylabel="learning rate")
        from_zero(axis)
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
        whole_numbers(axis)
        axis.legend()
    return figure


def iteration_time(pair: Pair) -> Figure:
    """The time column as printed (left), and the same turned into times of single stretches (right)."""
    figure, axes = sheet(f"{pair.title}: iteration time", 1, 2, (9.2, 3.9))
    printed = [run.steps.pairs("x", "time") for run in pair.runs]
    if curves(axes[0, 0], pair, printed, "no iteration time in either log"):
        axes[0, 0].set(title="as printed", xlabel="iteration", ylabel="seconds per iteration")
        from_zero(axes[0, 0])
    alike: list[Series] = [([], []), ([], [])][: len(pair.runs)]
    if pair.speed:
        alike = [(list(range(1, len(t.samples) + 1)), t.samples) for t in pair.speed.timings]
    if curves(axes[0, 1], pair, alike, "nothing to go by"):
        axes[0, 1].set(title="made alike, after warm-up", xlabel="sample", ylabel="seconds per iteration")
        from_zero(axes[0, 1])
    shared_legend(figure, axes.flat)
    return figure


def speed(pair: Pair) -> Figure:
    """Bars: the mean of the lines, beside medians per iteration, per image and per epoch."""
    panels = (
        ("mean of the printed times", "seconds per iteration", lambda t: t.author, None),
        ("median iteration, made alike", "seconds per iteration", lambda t: t.median, lambda t: 1),
        ("median per image", "seconds per image", lambda t: t.per_image, lambda t: 1 / t.batch),
        ("median x iterations per epoch", "seconds per epoch", lambda t: t.per_epoch, lambda t: t.iterations),
    )
    figure, axes = sheet(f"{pair.title}: training speed", 1, 4, (11.0, 3.7))
    timings = pair.speed.timings if pair.speed else []
    for axis, (title, label, read, scale) in zip(axes[0], panels, strict=True):
        values = [read(t) for t in timings]
        if not any(v is not None for v in values):
            empty(axis, f"{title}:\nnot recorded")
            continue
        for place, (style, t, value) in enumerate(zip(pair.looks(), timings, values, strict=True)):
            if value is None:
                axis.text(place, 0, "not\nrecorded", ha="center", va="bottom", fontsize=8, color="#555555")
                continue
            axis.bar(place, value, 0.6, color=style.color, hatch=style.hatch, edgecolor="white", label=style.label)
            if scale and t.interval:
                low, high = (edge * scale(t) for edge in t.interval)
                axis.errorbar(place, value, [[max(0, value - low)], [max(0, high - value)]], color="black", capsize=4)
            axis.annotate(f"{value:.3g}", (place, value), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        axis.set_xticks(range(len(timings)), pair.names, fontsize=8)
        axis.set_xlim(-0.6, len(timings) - 0.4)
        axis.set_title(title, fontsize=9)
        axis.set_ylabel(label, fontsize=8)
        top = max(v for v in values if v is not None)
        axis.set_ylim(0, 1.25 * top if top > 0 else 1)
    return figure


def epoch_time(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: time of each epoch")
    how, series = spans.epoch_times(pair.runs)
    if curves(axis, pair, series, "neither log tells how long an epoch took"):
        words = {
            "recorded": "as recorded",
            "stamps": "from the times of day, evaluation and saving included",
            "product": "median iteration time x iterations",
        }
        said = "; ".join(dict.fromkeys(words[h] for h in how if h))
        axis.set(xlabel="epoch", ylabel="seconds", title=said)
        from_zero(axis)
        whole_numbers(axis)
        axis.legend()
    return figure


RADAR: tuple[tuple[str, Callable[[Run, Pair, int], float | None]], ...] = (
    ("best AP", lambda run, pair, i: spans.best(run, "AP")),
    ("best AP50", lambda run, pair, i: spans.best(run, "AP50")),
    ("best AP75", lambda run, pair, i: spans.best(run, "AP75")),
    ("best AR100", lambda run, pair, i: spans.best(run, "AR100")),
    ("1 / last loss", lambda run, pair, i: spans.inverse(spans.last_loss(run))),
    ("images per second", lambda run, pair, i: spans.inverse(pair.speed.timings[i].per_image) if pair.speed else None),
    ("epochs per hour", lambda run, pair, i: spans.inverse(pair.speed.timings[i].per_epoch) if pair.speed else None),
    ("evaluation speed", lambda run, pair, i: spans.inverse(spans.inference(run).last)),
)


def radar(pair: Pair) -> Figure:
    """Axes that both logs hold, each scaled to the better side."""
    rows = [(name, [read(run, pair, i) for i, run in enumerate(pair.runs)]) for name, read in RADAR]
    kept = [(n, v) for n, v in rows if len(v) == 2 and all(x is not None and isfinite(x) for x in v) and max(v) > 0]
    left = [n for n, v in rows if (n, v) not in kept]
    figure, ((axis,),) = sheet(f"{pair.title}: summary", 1, 1, (6.6, 5.2))
    if len(kept) < 3:
        empty(axis, f"fewer than three quantities are in both logs above zero\n(missing: {', '.join(left)})")
        return figure
    axis.remove()
    axis = figure.add_subplot(projection="polar")
    angles = [2 * pi * i / len(kept) for i in range(len(kept))]
    for side, style in enumerate(pair.looks()):
        values = [max(0.0, v[side]) / max(v) for _, v in kept]
        axis.plot(
            [*angles, angles[0]],
            [*values, values[0]],
            color=style.color,
            linestyle=style.line,
            linewidth=2,
            marker=style.marker,
            label=style.label,
        )
        axis.fill([*angles, angles[0]], [*values, values[0]], color=style.color, alpha=0.08)
    axis.set_xticks(angles, [n for n, _ in kept], fontsize=8.5)
    axis.tick_params(axis="x", pad=13)
    axis.set_ylim(0, 1.05)
    axis.set_yticks([0.25, 0.5, 0.75, 1], ["0.25", "0.5", "0.75", "1 = better side"], fontsize=7)
    if left:
        axis.set_xlabel(
            f"not in both logs, or zero in both: {', '.join(left)}", fontsize=7.5, color="#555555", labelpad=14
        )
    axis.legend(loc="upper left", bbox_to_anchor=(-0.28, 1.08))
    return figure


def inference_time(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: time per iteration of evaluation, as printed")
    series = []
    for run in pair.runs:
        values = spans.inference(run).printed
        series.append((list(range(1, len(values) + 1)), values))
    if curves(axis, pair, series, "no time of evaluation in either log"):
        axis.set(xlabel="logged line", ylabel="seconds per iteration")
        from_zero(axis)
        whole_numbers(axis)
        axis.legend()
    return figure


def inference_box(pair: Pair) -> Figure:
    figure, axes = sheet(f"{pair.title}: time per iteration of evaluation", 1, 2, (8.4, 3.9))
    sides = [spans.inference(run) for run in pair.runs]
    panels = (("as printed", [s.printed for s in sides]), ("between times of day", [s.between for s in sides]))
    for axis, (title, samples) in zip(axes[0], panels, strict=True):
        if not any(samples):
            empty(axis, f"{title}:\nnot recorded")
            continue
        for place, (style, values) in enumerate(zip(pair.looks(), samples, strict=True)):
            if not values:
                axis.text(place, 0, "not\nrecorded", ha="center", va="bottom", fontsize=8, color="#555555")
                continue
            box = axis.boxplot([values], positions=[place], widths=0.5, patch_artist=True)
            box["boxes"][0].set(facecolor=style.color, hatch=style.hatch, alpha=0.8)
            box["medians"][0].set(color="black")
        axis.set_xticks(range(len(samples)), pair.names)
        axis.set_xlim(-0.6, len(samples) - 0.4)
        axis.set(title=title, ylabel="seconds per iteration")
        axis.set_ylim(0, 1.1 * max(max(v) for v in samples if v))
    return figure


def ap_smoothed(pair: Pair) -> Figure:
    figure, ((axis,),) = sheet(f"{pair.title}: smoothed AP (exponential, weight of the past {AP_SMOOTHING:g})")
    series = [run.evaluations.pairs("at", "AP") for run in pair.runs]
    series = [(x, (100 * smooth(y, AP_SMOOTHING)).tolist()) for x, y in series]
    if curves(axis, pair, series, "no average precision in either log"):
        axis.set(xlabel=evaluated_at(pair), ylabel="AP (points)")
        from_zero(axis)
        whole_numbers(axis)
        axis.legend()
    return figure


DRAW: dict[str, Callable[[Pair], Figure]] = {
    "loss": loss,
    "loss_smoothed": loss_smoothed,
    "loss_components": loss_components,
    "ap_curves": ap_curves,
    "ap_smoothed": ap_smoothed,
    "ar_curves": ar_curves,
    "learning_rate": learning_rate,
    "iteration_time": iteration_time,
    "speed": speed,
    "epoch_time": epoch_time,
    "inference_time": inference_time,
    "inference_box": inference_box,
    "radar": radar,
}


def draw_all(pair: Pair, folder: Path) -> list[Path]:
    """Write every figure as PNG and SVG."""
    sources = " · ".join(
        f"{name}: {run.source.path.name}, sha256 {run.source.sha256[:10]}"
        for name, run in zip(pair.names, pair.runs, strict=True)
    )
    return [path for stem, make in DRAW.items() for path in write(make(pair), folder, stem, sources)]
