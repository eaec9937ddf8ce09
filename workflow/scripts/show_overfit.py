"""Print whether both frameworks learnt their images by heart: `show_overfit.py results/overfit/nanodet/comparison.json`

Every part of the loss at the first step and in the last epoch, and AP50 on the images themselves. Exits with status 1
unless AP50 reached 95 and the part of the loss that can vanish fell below 5 % of its first value.

Two parts cannot vanish: a distribution focal loss ends at the entropy of box edges that lie between two bins, half a
nat on average; denoising queries get fresh noise in every step.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.comparison import Run, load
from parity.errors import UserError

LEAST_AP50, MOST_LEFT = 0.95, 0.05
STAYS = ("_dfl", "_dn_")  # in the names of losses that cannot vanish


def left(run: Run) -> float:
    """The part of the loss that can vanish: its value in the last epoch, divided by that at the first step."""
    first, last = run.steps[0]["losses"], run.epochs[-1]["losses"]
    names = [name for name in first if not any(part in name for part in STAYS)]
    return sum(last[name] for name in names) / sum(first[name] for name in names)


def learnt(run: Run) -> bool:
    """Whether the run knows its images by heart."""
    return (run.final("AP50") or 0.0) >= LEAST_AP50 and left(run) <= MOST_LEFT


def table(runs: list[Run]) -> str:
    """A row per part of the loss, with its first and last value in every run."""
    names = ["total", *runs[0].steps[0]["losses"]]
    lines = [f"{'first step -> last epoch':<24}" + "".join(f"{run.framework:>22}" for run in runs)]
    for name in names:
        cells = []
        for run in runs:
            first, last = run.steps[0], run.epochs[-1]
            pair = [line["total"] if name == "total" else line["losses"][name] for line in (first, last)]
            cells.append(f"{pair[0]:>10.4f} -> {pair[1]:<8.4f}")
        stays = "  (cannot vanish)" if any(part in name for part in STAYS) else ""
        lines.append(f"{name:<24}" + "".join(cells) + stays)
    lines.append(f"{'left of what can vanish':<24}" + "".join(f"{f'{100 * left(run):.2f} %':>22}" for run in runs))
    lines.append(f"{'AP50 on these images':<24}" + "".join(f"{100 * (run.final('AP50') or 0):>22.1f}" for run in runs))
    return "\n".join(lines)


def main(path: Path) -> int:
    """Print the table; returns the exit status."""
    comparison = load(path)
    runs = [run for run in comparison.runs if run.steps and run.epochs]
    if not runs:
        raise UserError(f"{path}: names no run with a log, expected those of make overfit")
    print(f"{comparison.title} {comparison.variant}, {len(runs)} runs\n\n{table(runs)}\n")
    for run in runs:
        print(f"{run.framework}: {'learnt by heart' if learnt(run) else 'NOT learnt by heart'}")
    return 0 if all(learnt(run) for run in runs) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except IndexError:
        sys.exit(__doc__)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
