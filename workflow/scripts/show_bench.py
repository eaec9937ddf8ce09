"""Print the measurements side by side: `show_bench.py [--append PAGE] results/rtdetr/profile ...`

One row per model and quantity: training step, inference of one image, memory, compilation. One column per setting:
PyTorch, PyTorch compiled, Jittor with fast operators and as installed; then each one's ratio to PyTorch. A time is the
median of the medians of the processes, with the smallest and the largest of these. Last, what else the machine did, and
the loader: training batches of the same configuration by worker threads and by a single thread, in turns.

`--append` adds the same table to a page in Markdown, with date, commit and machine: the history of docs/speed.md.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.comparison import PROFILE_ORDER
from parity.compare.findings import IDLE, drift, samples, survives
from parity.compare.stats import ratio_of_processes
from parity.config.run import RunConfig, load_run
from parity.data.throughput import compare
from parity.errors import UserError
from parity.files import read_json, read_lines, write_text
from parity.measure import turns
from parity.measure.processes import merge, processes
from parity.report.pipe_table import pipe_table
from parity.train.record import git_commit, now

Profiles = dict[str, dict[str, Any]]  # setting -> merged measurement, or {"uncompiled": reason}

TITLES = {"torch": "PyTorch", "torch-compile": "compiled", "jittor": "Jittor fast", "jittor-stock": "Jittor stock"}
BASE = "torch"
MARGIN = 0.05  # of a ratio; only its interval is shown


def _median(section: str, key: str, scale: float = 1e3) -> Callable[[dict], float]:
    return lambda process: scale * statistics.median(process[section][key])


ROWS: dict[str, Callable[[dict], float]] = {  # row -> its value for one process
    "training step, ms": _median("train", "step"),
    "inference, ms": _median("latency", "total"),
    "memory, training, MB": lambda process: process["memory"]["train_peak_mb"],
    "memory, inference, MB": lambda process: process["memory"]["inference_peak_mb"],
    "first forward + first two steps, s": lambda process: sum(
        process["first"][key] for key in ("forward", "step", "second_step")
    ),
    "machine, step, ms": _median("machine", "train"),
    "machine, inference, ms": _median("machine", "latency"),
}
JUDGED = {
    "training step": ("train", "step"),
    "inference": ("latency", "total"),
}  # ratios that a report gives a verdict on
PLAIN = ("memory", "first")  # rows that have a ratio without an interval


def read(folder: Path) -> Profiles:
    """Every measurement published in a folder. Raises UserError where there is none."""
    found: Profiles = {}
    for setting in PROFILE_ORDER:
        several = [read_json(file) for file in sorted(folder.glob(f"{setting}.[0-9]*.json"))]
        refused = [one for one in several if one.get("uncompiled")]
        if several:
            found[setting] = refused[0] if refused else merge(several)
    if not measured(found):
        raise UserError(
            f"{folder}: holds no profile, expected one of {', '.join(f'{s}.1.json' for s in PROFILE_ORDER)}"
        )
    return found


def measured(profiles: Profiles) -> Profiles:
    """The measurements without those that could not be compiled."""
    return {setting: profile for setting, profile in profiles.items() if "uncompiled" not in profile}


def rows(profiles: Profiles) -> list[list[str]]:
    """[quantity, a cell per setting of TITLES, a ratio per setting but the first] for every row."""
    known, table = measured(profiles), []
    for name, value in ROWS.items():
        values = {setting: [value(process) for process in processes(p)] for setting, p in known.items()}
        ratios = [_ratio(name, values, setting) for setting in TITLES if setting != BASE]
        table.append([name, *(_cell(values.get(setting)) for setting in TITLES), *ratios])
    return table


def _cell(values: list[float] | None) -> str:
    """Median of the processes, and the smallest and largest of them."""
    if not values:
        return "-"
    digits = 0 if min(values) >= 1000 else 1 if min(values) >= 10 else 2
    middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}-{high})" if low != high else middle


def _ratio(name: str, values: dict[str, list[float]], setting: str) -> str:
    """Ratio to PyTorch, for times with its 90 % interval over processes where there are enough."""
    if BASE not in values or setting not in values:
        return "-"
    if name.startswith(PLAIN):
        return f"{statistics.median(values[setting]) / statistics.median(values[BASE]):.2f}"
    verdict = ratio_of_processes([[v] for v in values[BASE]], [[v] for v in values[setting]], MARGIN)
    interval = f" ({verdict.low:.2f}-{verdict.high:.2f})" if verdict.low is not None else ""
    return f"{verdict.estimate:.2f}{interval}"


def header() -> list[str]:
    return ["", *TITLES.values(), *(f"{title} / {TITLES[BASE]}" for name, title in TITLES.items() if name != BASE)]


def notes(profiles: Profiles) -> list[str]:
    """In words: what could not be compiled, what else the machine did, and in which order the processes began."""
    known = measured(profiles)
    lines = [f"{TITLES[s]}: not measured, {p['uncompiled']}" for s, p in profiles.items() if "uncompiled" in p]
    busy = ", ".join(
        f"{TITLES[name]} {max(cores for process in processes(profile) for cores in process['others'].values()):.2f}"
        for name, profile in known.items()
    )
    lines.append(f"cores busy with something else, in the worst series: {busy}")
    lines += disturbed(known)
    order = turns.report(known)
    if order:
        kept = "A B B A" if order["alternated"] else f"not A B B A but {', '.join(order['order'])}"
        lines.append(f"processes in the order {kept}, the longest pause {order['pause']:.0f} s")
    return lines


def disturbed(known: Profiles) -> list[str]:
    """The ratios on which a report would withhold its verdict, by its own rule, and why."""
    lines = []
    for setting, profile in known.items():
        if setting == BASE or BASE not in known:
            continue
        for name, (section, key) in JUDGED.items():
            first, second = ([samples(one, section, key) for one in processes(p)] for p in (known[BASE], profile))
            slower = drift(known[BASE], profile, section)
            busy = max(one["others"][section] for p in (known[BASE], profile) for one in processes(p))
            if busy > IDLE:
                lines.append(f"withheld: {name}, {TITLES[setting]}: others kept {busy:.2f} cores busy")
            elif not survives(ratio_of_processes(first, second, MARGIN), slower):
                lines.append(
                    f"withheld: {name}, {TITLES[setting]}: the fixed computation took {slower:.2f} times as long"
                )
    return lines


def about(profiles: Profiles) -> str:
    """Model and machine, in one line."""
    some = next(iter(measured(profiles).values()))
    return f"{some['model']} {some['variant']}, {some['device']}, {some['threads']} threads, {some['host']['cpu']}"


def text(profiles: Profiles) -> str:
    """The table for a terminal."""
    table = [header(), *rows(profiles)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join([about(profiles), "", *lines, "", *notes(profiles)])


def markdown(profiles: Profiles, commit: str | None, date: str) -> str:
    """The same as a section of a page."""
    listed = "\n".join(f"- {note}" for note in notes(profiles))
    return (
        f"### {date[:10]}, `{(commit or 'no commit')[:10]}`: {about(profiles)}\n\n"
        + pipe_table(header(), rows(profiles))
        + f"\n\n{listed}\n"
    )


def append(page: Path, sections: list[str]) -> None:
    """Add sections to the end of a page. Raises UserError where it cannot be read or written."""
    try:
        before = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{page}: cannot be read: {error}, expected the page that the table is added to") from error
    write_text(page, "\n".join([before.rstrip() + "\n", *sections]))


def loader_line(measured: dict) -> str:
    """Images per second of the loader in both ways, and their ratio."""
    single, threads = (statistics.median(measured[kind]) for kind in ("single", "threads"))
    return (
        f"loader, {measured['images']} training images: {threads:.1f} images/s with {measured['workers']} threads,"
        f" {single:.1f} with one, ratio {measured['ratio']:.2f}"
    )


def measured_run(folder: Path) -> RunConfig:
    """The configuration of the first published measurement, which lies beside the measurement itself."""
    first = Path(read_lines(folder / "published.txt")[0])
    return load_run(first.with_name(f"{first.name.partition('.')[0]}.run.yaml"))


def main(folders: list[Path], page: Path | None) -> None:
    """Print the table of each folder, and add it to a page."""
    sections = []
    for folder in folders:
        profiles = read(folder)
        print(f"{text(profiles)}\n")
        sections.append(markdown(profiles, git_commit(), now()))
        workers = max(2, len(os.sched_getaffinity(0)))
        print(f"{loader_line(compare(measured_run(folder), workers))}\n")
    if page:
        append(page, sections)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="Folders with published measurements.")
    parser.add_argument("--append", type=Path, help="Page in Markdown that the tables are added to.")
    args = parser.parse_args()
    try:
        main(args.folders, args.append)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
