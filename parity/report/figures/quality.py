"""Precision-recall curves and confusion tables, for the runs of a comparison or for one run."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings
from parity.compare.precision_recall import RECALLS
from parity.compare.quality import Quality, qualities
from parity.data.fonts import lettering
from parity.report.figures.style import display, empty, look, shared_legend, sheet
from parity.report.quality import Qualities, mean_best, mean_confusion, mean_curve, rows_of

MOST = 20  # classes with a panel or a row of their own; further ones are in the CSV files
WRITTEN = 12  # rows up to which the counts are written into the cells of a confusion table
OTHERS = "other classes"


def precision_recall(comparison: Comparison, findings: Findings) -> Figure:
    found, missing = qualities(comparison)
    return draw_curves(f"{comparison.title} ({comparison.variant})", found, missing)


def confusion(comparison: Comparison, findings: Findings) -> Figure:
    found, missing = qualities(comparison)
    return draw_confusions(f"{comparison.title} ({comparison.variant})", found, missing)


def most_frequent(found: Qualities) -> list[int]:
    """Places (from 1) of the classes with the most objects, MOST at most, in the order of the classes."""
    rows = rows_of(found)
    counted = [place for place in range(1, len(rows)) if rows[place].objects]
    return sorted(sorted(counted, key=lambda place: -rows[place].objects)[:MOST])


def draw_curves(title: str, found: Qualities, missing: Mapping[str, str]) -> Figure:
    """One panel for all classes and one for each class."""
    places, rows = [0, *most_frequent(found)], rows_of(found)
    title = f"{title}: precision and recall"
    if not rows:
        figure, ((axis,),) = sheet(title)
        empty(axis, _why(missing))
        return figure
    left = sum(row.objects > 0 for row in rows[1:]) - (len(places) - 1)
    title += f" ({left} more classes in tables/precision_recall.csv)" if left else ""
    columns = min(len(places), 3 if len(places) <= 9 else 4)
    height = -(-len(places) // columns)
    figure, axes = sheet(title, height, columns, (3.0 * columns + 0.6, 2.7 * height + 0.9))
    letters = lettering({place: rows[place].name for place in places})
    for axis, place in zip(axes.flat, places, strict=False):
        for order, (name, runs) in enumerate(found.items()):
            _curve(axis, name, runs, place, order)
        axis.set_title(f"{letters.names[place]} (n = {rows[place].objects})", fontsize=9, family=letters.families)
        axis.set(xlim=(0, 1.02), ylim=(0, 1.04))
    for axis in list(axes.flat)[len(places) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("recall")
    for line in axes:
        line[0].set_ylabel("precision")
    note = "".join(f"; {display(name)}: {why}" for name, why in missing.items() if name not in found)
    marker = (
        "marker: highest F1 at IoU .50 (all classes: of all detections together, while the lines are means of classes)"
    )
    shared_legend(figure, axes.flat, 2, f"{marker}{note}")
    return figure


def _curve(axis: Axes, name: str, runs: list[Quality], place: int, order: int) -> None:
    """Both curves of one framework and class, the mean of its seeds, and where F1 is highest."""
    style, wide = look(name), 2.6 if order == 0 else 1.5  # a second curve on top must not hide the first
    at50, mean = (mean_curve(runs, place, kind) for kind in ("at50", "mean"))
    axis.plot(RECALLS, at50, color=style.color, linestyle=style.line, linewidth=wide, label=f"{display(name)}, IoU .50")
    axis.plot(
        RECALLS, mean, color=style.color, linestyle=style.line, linewidth=0.45 * wide, alpha=0.8,
        label=f"{display(name)}, mean of IoU .50 to .95",
    )  # fmt: skip
    recall, precision = (mean_best(runs, place, key) for key in ("recall", "precision"))
    if recall is not None:
        size = 7 if order == 0 else 5
        axis.plot(recall, precision, marker=style.marker, color=style.color, markersize=size, markeredgecolor="black")


def draw_confusions(title: str, found: Qualities, missing: Mapping[str, str]) -> Figure:
    """One panel for each framework: rows are classes of objects, columns the classes they were detected as."""
    tables = {name: mean_confusion(runs) for name, runs in found.items()}
    names = [*found, *(name for name in missing if name not in found)]
    title = f"{title}: what objects were detected as"
    if not any(table is not None for table in tables.values()):
        figure, ((axis,),) = sheet(title)
        empty(axis, _why(missing) if missing else "no detection is right, so that no threshold is the best one")
        return figure
    places, labels = most_frequent(found), next(runs[0].labels for runs in found.values())
    keep = [place - 1 for place in places]
    rest = [i for i, row in enumerate(rows_of(found)[1:]) if row.objects and i not in keep]
    absent = [i for i, row in enumerate(rows_of(found)[1:]) if not row.objects]
    shown = [labels[i] for i in keep] + ([OTHERS] if rest or absent else []) + [labels[-1]]
    groups = [[i] for i in keep] + ([rest + absent] if rest or absent else []) + [[len(labels) - 1]]
    letters = lettering(dict(enumerate(shown)))
    side = max(3.2, 0.36 * len(shown) + 1.4)
    figure, axes = sheet(title, 1, len(names), (side * len(names) + 0.6, side + 1.1))
    for axis, name in zip(axes[0], names, strict=True):
        table = tables.get(name)
        if table is None:
            empty(axis, f"{display(name)}: {missing.get(name, 'no detection is right')}")
            continue
        counts = np.array([[table[np.ix_(a, b)].sum() for b in groups] for a in groups])
        threshold = mean_best(found[name], 0, "threshold")
        _cells(axis, counts, letters)
        seeds = f", mean of {len(found[name])} seeds" if len(found[name]) > 1 else ""
        axis.set_title(f"{display(name)}, score ≥ {threshold:.3g}{seeds}", fontsize=9.5)
        axis.set_xlabel("detected as (shade: share of the row)")
    axes[0, 0].set_ylabel("object")
    return figure


def _cells(axis: Axes, counts: np.ndarray, letters) -> None:
    """Counts as shades of their row: the darker, the more of the objects of a class were detected as that."""
    whole = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, whole, out=np.zeros_like(counts, dtype=float), where=whole > 0)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [letters.names[i] for i in range(len(counts))]
    small = {"fontsize": 7.5, "family": letters.families}
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", **small)
    axis.set_yticks(range(len(names)), names, **small)
    axis.grid(False)
    if len(counts) > WRITTEN:
        return
    for (i, j), count in np.ndenumerate(counts):
        if count:
            axis.text(
                j, i, f"{count:g}" if count == round(count) else f"{count:.1f}", ha="center", va="center", fontsize=8,
                color="white" if share[i, j] > 0.55 else "black",
            )  # fmt: skip


def _why(missing: Mapping[str, str]) -> str:
    return "; ".join(dict.fromkeys(missing.values())) or "no evaluation was recorded"
