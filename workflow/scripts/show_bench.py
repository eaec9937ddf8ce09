"""Print what was measured, side by side: `show_bench.py results/rtdetr/profile`

Medians in milliseconds, and how they compare with PyTorch's where it was measured too. Then the loader is measured here
and now: training batches of the same configuration by worker threads and by a single thread, in turns.
"""

import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.run import RunConfig, load_run
from parity.data.throughput import compare
from parity.errors import UserError
from parity.files import read_json, read_lines
from parity.measure.processes import merge, processes

ROWS = {  # row: where its samples stand in profile.json
    "inference, total": ("latency", "total"),
    "  preprocess": ("latency", "preprocess"),
    "  forward": ("latency", "forward"),
    "  postprocess": ("latency", "postprocess"),
    "training step": ("train", "step"),
    "  data": ("train", "data"),
    "  forward + backward": ("train", "forward_backward"),
    "  optimiser": ("train", "optimizer"),
    "machine, inference": ("machine", "latency"),
    "machine, training": ("machine", "train"),
}


def table(profiles: dict[str, dict]) -> str:
    """Rows of medians in milliseconds, a column and (but for the first) a ratio per setting."""
    first = next(iter(profiles))
    columns = [title for name in profiles for title in ([name] if name == first else [name, f"/ {first}"])]
    lines = [f"{'median, ms':<22}" + "".join(f"{title:>14}" for title in columns)]
    for row, (section, key) in ROWS.items():
        medians = {name: 1e3 * statistics.median(profile[section][key]) for name, profile in profiles.items()}
        cells = []
        for name, value in medians.items():
            cells.append(f"{value:.2f}")
            if name != first:
                cells.append(f"{value / medians[first]:.2f}" if medians[first] else "-")
        lines.append(f"{row:<22}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def machine_line(profiles: dict[str, dict]) -> str:
    """What the rows about the machine are, and whether it had anything else to do."""
    others = ", ".join(
        f"{name} {max(cores for process in processes(profile) for cores in process['others'].values()):.2f}"
        for name, profile in profiles.items()
    )
    return (
        "machine: a fixed computation amid each measurement, 1.00 unless the machine itself changed its speed\n"
        f"cores busy with something else, in the worst series: {others}"
    )


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


def main(folder: Path) -> None:
    """Print the table of every profile in a folder, PyTorch first."""
    order = ("torch", "jittor", "jittor-stock")
    found = {name: [read_json(file) for file in sorted(folder.glob(f"{name}.[0-9]*.json"))] for name in order}
    profiles = {name: merge(several) for name, several in found.items() if several}
    if not profiles:
        raise UserError(f"{folder}: holds no profile, expected one of {', '.join(f'{name}.json' for name in order)}")
    some = next(iter(profiles.values()))
    print(f"{some['model']} {some['variant']}, {some['device']}, {some['threads']} threads, {some['host']['cpu']}\n")
    print(f"{table(profiles)}\n\n{machine_line(profiles)}")
    workers = max(2, len(os.sched_getaffinity(0)))
    print(f"\n{loader_line(compare(measured_run(folder), workers))}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except IndexError:
        sys.exit(__doc__)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
