"""Print what was measured, side by side: `show_bench.py results/rtdetr/profile`

Medians in milliseconds, and how they compare with PyTorch's where it was measured too.
"""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.files import read_json

ROWS = {  # row: where its samples stand in profile.json
    "inference, total": ("latency", "total"),
    "  preprocess": ("latency", "preprocess"),
    "  forward": ("latency", "forward"),
    "  postprocess": ("latency", "postprocess"),
    "training step": ("train", "step"),
    "  data": ("train", "data"),
    "  forward + backward": ("train", "forward_backward"),
    "  optimiser": ("train", "optimizer"),
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


def main(folder: Path) -> None:
    """Print the table of every profile in a folder, PyTorch first."""
    order = ("torch", "jittor", "jittor-stock")
    profiles = {name: read_json(folder / f"{name}.json") for name in order if (folder / f"{name}.json").exists()}
    if not profiles:
        raise UserError(f"{folder}: holds no profile, expected one of {', '.join(f'{name}.json' for name in order)}")
    some = next(iter(profiles.values()))
    print(f"{some['model']} {some['variant']}, {some['device']}, {some['threads']} threads, {some['host']['cpu']}\n")
    print(table(profiles))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except IndexError:
        sys.exit(__doc__)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
