"""Values that figures and tables take from a record: times of epochs and of evaluations, best and last values."""

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, isnan

from parity.logs.record import Run
from parity.logs.speed import timing

Series = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Inference:
    """Seconds per iteration of evaluation: as `printed`, and `between` times of day finer than a second.

    `phase` is "test" where the log has a test, otherwise "validation"; `last` the last printed value, which for tools
    that print a running mean is the mean of the evaluation.
    """

    printed: list[float]
    between: list[float]
    phase: str
    last: float | None


def inference(run: Run) -> Inference:
    """Times of evaluation of one run; those of a test where there is one."""
    table = run.inference
    rows = list(zip(*(table.column(n) for n in ("phase", "time", "iter", "stamp")), strict=True))
    test = any(phase == 1 for phase, *_ in rows)
    rows = [row for row in rows if (row[0] == 1) == test]
    between = []
    fine = any(isfinite(s) and s != int(s) for *_, s in rows)
    for (_, _, i0, s0), (_, _, i1, s1) in pairwise(rows):
        if fine and i1 > i0 and isfinite(s0) and isfinite(s1) and s1 >= s0:
            between.append((s1 - s0) / (i1 - i0))
    printed = [time for _, time, _, _ in rows]
    return Inference(printed, between, "test" if test else "validation", printed[-1] if printed else None)


def epoch_times(runs: list[Run]) -> tuple[list[str], list[Series]]:
    """Per run: how its epoch times are known ("recorded", "stamps", "product", "" for not at all), and the times.

    The first way that all runs have is used for all, so that equal things are compared. Otherwise each run uses its
    best.
    """
    ways = {"recorded": _recorded, "stamps": _from_stamps, "product": _product}
    found = {name: [way(run) for run in runs] for name, way in ways.items()}
    for name, series in found.items():
        if all(x for x, _ in series):
            return [name] * len(runs), series
    how, chosen = [], []
    for side in range(len(runs)):
        name = next((n for n in found if found[n][side][0]), "")
        how.append(name)
        chosen.append(found[name][side] if name else ([], []))
    return how, chosen


def _recorded(run: Run) -> Series:
    return run.epochs.pairs("epoch", "train_s")


def _from_stamps(run: Run) -> Series:
    """From the last line of one epoch to the last line of the next."""
    last: dict[float, float] = {}
    for epoch, stamp in zip(run.steps.column("epoch"), run.steps.column("stamp"), strict=True):
        if isfinite(epoch) and isfinite(stamp):
            last[epoch] = stamp
    epochs = sorted(last)
    pairs = [(b, last[b] - last[a]) for a, b in pairwise(epochs) if b == a + 1 and last[b] > last[a]]
    return [e for e, _ in pairs], [s for _, s in pairs]


def _product(run: Run) -> Series:
    seconds = timing(run).per_epoch
    epochs = run.epochs.column("epoch")
    return (epochs, [seconds] * len(epochs)) if seconds else ([], [])


def best(run: Run, metric: str) -> float | None:
    """The highest value of a metric."""
    found = [v for v in run.evaluations.column(metric) if not isnan(v)]
    return max(found, default=None)


def best_row(run: Run, metric: str = "AP") -> dict[str, float] | None:
    """The first evaluation with the highest value of a metric; None without any."""
    rows = [row for row in run.evaluations.rows() if metric in row]
    return max(rows, key=lambda row: row[metric], default=None)


def last_row(run: Run) -> dict[str, float] | None:
    """The last evaluation."""
    rows = list(run.evaluations.rows())
    return rows[-1] if rows else None


def last_loss(run: Run) -> float | None:
    """The last total loss: of a step where steps are logged, otherwise of an epoch."""
    for table in (run.steps, run.epochs):
        if found := [v for v in table.column("loss") if isfinite(v)]:
            return found[-1]
    return None


def mean_loss(run: Run) -> float | None:
    """The mean of all logged total losses, as logs are usually averaged."""
    for table in (run.steps, run.epochs):
        if found := [v for v in table.column("loss") if isfinite(v)]:
            return sum(found) / len(found)
    return None


def inverse(value: float | None) -> float | None:
    """1 / value; None for nothing and for zero."""
    return 1 / value if value else None
