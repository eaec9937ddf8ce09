"""AP against latency: every model in every framework, and the ones that no other beats in both."""

from pathlib import Path

from matplotlib.figure import Figure

from parity.report.figures.style import FOOTER, empty, look, shared_legend, write
from parity.report.summary import Entry, Point, front, points

CAPTION = "AP against the median inference latency of one image. The line joins what nothing else beats in both."
SIZE = (7.0, 4.6)  # inches


def pareto(entries: list[Entry]) -> Figure:
    """A marker per model and framework, a thin line and a label per model, the front as steps. Upper left is better."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    strip = FOOTER / SIZE[1]
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    figure.suptitle("accuracy and speed of every model", fontsize=11.5, x=0.01, ha="left")
    found = points(entries)
    if not found:
        empty(axis, "no model has both an AP and a latency")
        return figure
    _front(axis, front(found))
    for name in dict.fromkeys(point.framework for point in found):
        style, own = look(name), [point for point in found if point.framework == name]
        axis.plot(
            [p.latency for p in own], [p.ap for p in own], linestyle="", marker=style.marker, markersize=8,
            color=style.color, markeredgecolor="black", markeredgewidth=0.6, label=style.label, zorder=3,
        )  # fmt: skip
    for model in dict.fromkeys(point.model for point in found):
        own = sorted((point for point in found if point.model == model), key=lambda p: p.ap)
        axis.plot([p.latency for p in own], [p.ap for p in own], color="#bbbbbb", linewidth=0.9, zorder=1)
        axis.annotate(
            model, (own[-1].latency, own[-1].ap), xytext=(0, 8), textcoords="offset points", fontsize=8.5, ha="center"
        )
    axis.set(xlabel="milliseconds per image, median", ylabel="AP of the final weights (points)")
    axis.set_xlim(0, 1.2 * max(p.latency for p in found))
    axis.set_ylim(0, max(1.0, 1.15 * max(p.ap for p in found)))
    shared_legend(figure, [axis], 3)
    return figure


def _front(axis, best: list[Point]) -> None:
    """Steps between the best points: at any latency, the AP that can be had."""
    axis.step(
        [p.latency for p in best], [p.ap for p in best], where="post", color="#888888", linewidth=1.2,
        linestyle=(0, (4, 2)), label="beaten by none", zorder=2,
    )  # fmt: skip


def draw(entries: list[Entry], folder: Path) -> list[Path]:
    """Write `pareto.png` and `pareto.svg`."""
    comparisons = [comparison for comparison, _ in entries]
    words = [", ".join(f"{c.title} ({c.variant})" for c in comparisons)]
    commits = sorted({(c.commit or "not recorded")[:10] for c in comparisons})
    words.append(f"commit {', '.join(commits)}")
    dpi = comparisons[0].setting("figures", "dpi") if comparisons else None
    return write(pareto(entries), folder, "pareto", " · ".join(words), dpi)
