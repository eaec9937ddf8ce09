"""How every figure looks: Okabe-Ito colours, a second cue for grey print, a footer with the source, stable bytes."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity.compare.comparison import Comparison
from parity.files import atomic

matplotlib.rcParams.update(
    {
        "svg.hashsalt": "parity",  # element ids, otherwise random
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#d9d9d9",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "hatch.linewidth": 0.8,
        "figure.dpi": 130,
    }
)

FOOTER = 0.18  # inches below everything else, for the footer
POINTS = 3000  # longest curve drawn in full; longer ones are thinned, which the eye cannot see and SVG files can


@dataclass(frozen=True)
class Look:
    """Colour, line style, marker and hatch of one framework or setting: they differ in grey print, too."""

    label: str
    color: str
    line: str | tuple
    marker: str
    hatch: str


LOOKS = {
    "torch": Look("PyTorch", "#0072B2", "-", "o", ""),
    "jittor": Look("Jittor", "#E69F00", (0, (5, 2)), "s", "///"),
    "jittor-stock": Look("Jittor (stock operators)", "#CC79A7", (0, (1, 1.5)), "^", "xx"),
}
OTHERS = ("#009E73", "#D55E00", "#56B4E9", "#000000")
PARTS = (("#0072B2", ""), ("#56B4E9", "///"), ("#E69F00", "..."), ("#CC79A7", "xx"))  # parts of a stacked bar


def look(name: str) -> Look:
    """Look of a framework or profile setting; unknown names get their own, stable one."""
    if name in LOOKS:
        return LOOKS[name]
    place = sum(name.encode()) % len(OTHERS)
    return Look(name, OTHERS[place], "-.", "Dv<>"[place], "\\\\")


def display(name: str, comparison: Comparison | None = None) -> str:
    """A setting's name for people. Which Jittor was measured is always said: "Jittor (fast operators)"."""
    if name == "jittor" and comparison is not None:
        for profile in [
            comparison.profiles.get("jittor") or {},
            *((r.manifest or {}) for r in comparison.of("jittor")),
        ]:
            took_effect = (profile.get("versions") or {}).get("operators")  # fast ones fall back to stock on a GPU
            ops = took_effect or (profile.get("framework_options") or {}).get("ops")
            if ops:
                return f"Jittor ({ops} operators)"
        return "Jittor (fast operators)" if "jittor-stock" in comparison.profiles else "Jittor"
    return look(name).label


def short(name: str) -> str:
    """A setting's name in at most two short lines, for tick labels."""
    lines = {"jittor": "Jittor", "jittor-stock": "Jittor\nstock ops"}
    return lines.get(name, look(name).label)


def from_zero(axis: Axes) -> None:
    """Let the vertical axis begin at 0 and leave a tenth free above the highest point."""
    top = axis.dataLim.y1
    axis.set_ylim(0, 1.1 * top if top > 0 else 1)


def shared_legend(figure: Figure, axes, columns: int = 3, title: str | None = None) -> None:
    """One legend below all panels and above the footer, made from every label that any panel has."""
    labels: dict[str, object] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            labels.setdefault(label, handle)
    if labels:
        height = figure.get_size_inches()[1]
        figure.legend(
            labels.values(), labels.keys(), loc="lower center", bbox_to_anchor=(0.5, FOOTER / height),
            ncols=columns, title=title, title_fontsize=8.5,
        )  # fmt: skip
        rows = -(-len(labels) // columns) + (title is not None)
        strip = (FOOTER + 0.12 + 0.19 * rows) / height  # inches of the legend's padding and of each of its lines
        figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))


def canvas(comparison: Comparison, title: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.2)):
    """`sheet` of one comparison, whose name stands before the title."""
    return sheet(f"{comparison.title} ({comparison.variant}): {title}", rows, columns, size)


def sheet(title: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.2)):
    """Figure with a title line and its axes as an array [rows, columns]."""
    figure = Figure(figsize=size, layout="constrained")  # without pyplot, which would keep every figure alive
    axes = figure.subplots(rows, columns, squeeze=False)
    strip = FOOTER / size[1]
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    figure.suptitle(title, fontsize=11.5, x=0.01, ha="left")
    return figure, axes


def empty(axis: Axes, why: str) -> None:
    """Say in the figure what is missing instead of leaving a hole."""
    axis.set_axis_off()
    axis.text(0.5, 0.5, why, ha="center", va="center", wrap=True, color="#555555", transform=axis.transAxes)


def footer(comparison: Comparison) -> str:
    """Source, configuration and commit, for the small print below a figure."""
    config, commit = comparison.config_digest(), comparison.commit
    source = "/".join(comparison.source.parts[-3:])
    seeds = ", ".join(map(str, comparison.seeds)) or "none"
    words = [source, f"seeds {seeds}", f"config {config[:10] if config else 'not recorded'}"]
    hexadecimal, changed, _ = (commit or "").partition("+")  # "+changes": tracked files differed from the commit
    words.append(f"commit {hexadecimal[:10] + (' with changes' if changed else '') or 'not recorded'}")
    return " · ".join(words)


def save(figure: Figure, comparison: Comparison, folder: Path, stem: str) -> list[Path]:
    """`write` a figure of one comparison, in its resolution."""
    return write(figure, folder, stem, footer(comparison), comparison.setting("figures", "dpi"))


def write(figure: Figure, folder: Path, stem: str, small_print: str, dpi: float | None = None) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`; equal input gives equal bytes (no dates, no random ids)."""
    figure.text(0.005, 0, small_print, fontsize=6.5, color="#666666", ha="left", va="bottom")
    written = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = Path(folder) / f"{stem}.{suffix}"
        with atomic(path) as temporary:
            figure.savefig(
                temporary, format=suffix, metadata=metadata, dpi=dpi or figure.dpi, bbox_inches="tight",
                pad_inches=0.12,
            )  # fmt: skip
        written.append(path)
    return written


def thin(*series):
    """Every k-th point of equally long series, so that at most POINTS are drawn; the last point always stays."""
    length = len(series[0])
    step = -(-length // POINTS) if length > POINTS else 1
    return tuple([*s[: length - 1 : step], s[length - 1]] if step > 1 else list(s) for s in series)
