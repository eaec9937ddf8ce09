"""Iteration times of logs in one form: a line's time has one meaning, without warm-up, per image and per epoch.

Tools print different things under `time`: the last iterations' mean (MMDetection, DETR), or the mean since the start of
the run (jittordet). The second is turned back into times of the iterations between two lines.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, isnan, log

import numpy as np
from scipy import stats

from parity.compare.stats import ALPHA, Verdict
from parity.logs.ratio import FEWEST, ratio_of_medians
from parity.logs.record import Run

MARGIN = 0.05  # margin of the ratio, as for the speed of this project's own runs
AGREE = 0.1  # median |log ratio| below which two ways of timing say the same


@dataclass(frozen=True)
class Timing:
    """Seconds per iteration of one run.

    samples   after warm-up; one per logged line or per stretch between two lines
    source    "column" the log's own time, "undone" the same turned back from a running mean, "stamps" from the times
              of day, "epoch" seconds of an epoch over its iterations, "" nothing to go by
    warm_up   how many samples were left out at the beginning
    batch     images per iteration over all devices, None where not recorded
    author    mean of the time column over all lines, as such logs are usually averaged
    """

    samples: list[float]
    source: str
    warm_up: int
    batch: int | None
    iterations: int | None
    author: float | None
    running_mean: bool
    stated: bool  # the batch size was given by hand

    @property
    def median(self) -> float | None:
        return float(np.median(self.samples)) if self.samples else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the median at level 1 - 2 ALPHA from order statistics; None with too few samples."""
        n = len(self.samples)
        if n < FEWEST:
            return None
        low = int(stats.binom.ppf(ALPHA, n, 0.5))
        ordered = sorted(self.samples)
        return ordered[max(0, low - 1)], ordered[min(n - 1, n - low)]

    @property
    def per_image(self) -> float | None:
        return self.median / self.batch if self.samples and self.batch else None

    @property
    def per_epoch(self) -> float | None:
        return self.median * self.iterations if self.samples and self.iterations else None


@dataclass(frozen=True)
class Speed:
    """Two timings, and the ratio second / first of their medians per iteration, image and epoch (None: unknown)."""

    timings: list[Timing]
    per_iteration: Verdict | None
    per_image: Verdict | None
    per_epoch: Verdict | None
    author: float | None


def batch_of(run: Run) -> int | None:
    """Images per iteration over all devices."""
    size, devices = run.fact("batch size"), run.fact("GPUs")
    if not isinstance(size, int) or size <= 0:
        return None
    per_device = run.source.format.startswith("MMDetection")  # its configuration counts per device
    return size * devices if per_device and isinstance(devices, int) and devices > 0 else size


def stretches(run: Run) -> list[tuple[float, float, int]]:
    """(seconds per iteration, iterations, line) between neighbouring lines of an epoch, from their times of day."""
    steps, result = run.steps, []
    names = ("x", "epoch", "stamp", "line")
    rows = list(zip(*(steps.column(name) for name in names), strict=True))
    for (x0, e0, s0, _), (x1, e1, s1, line) in pairwise(rows):
        if isnan(s0) or isnan(s1) or x1 <= x0 or (e0 != e1 and not (isnan(e0) and isnan(e1))):
            continue
        result.append(((s1 - s0) / (x1 - x0), int(x1 - x0), int(line)))
    return result


def undone(run: Run) -> list[tuple[float, int]]:
    """(seconds per iteration, line) between neighbouring lines if the time column is a mean since the start."""
    x, times, lines = run.steps.column("x"), run.steps.column("time"), run.steps.column("line")
    rows = [(a, t, line) for a, t, line in zip(x, times, lines, strict=True) if isfinite(t) and a > 0]
    return [((t1 * a1 - t0 * a0) / (a1 - a0), int(line)) for (a0, t0, _), (a1, t1, line) in pairwise(rows) if a1 > a0]


def fine_stamps(run: Run) -> bool:
    """Whether times of day are finer than a second."""
    return any(isfinite(s) and s != int(s) for s in run.steps.column("stamp"))


def is_running_mean(run: Run) -> bool:
    """Whether the time column agrees with the times of day only if it is a mean since the start of the run."""
    by_line = {line: seconds for seconds, _, line in stretches(run) if seconds > 0}
    column = dict(zip(run.steps.column("line"), run.steps.column("time"), strict=True))
    turned = {line: t for t, line in undone(run) if t > 0}
    common = [line for line in by_line if line in turned and isfinite(column.get(line, np.nan)) and column[line] > 0]
    if len(common) < FEWEST or not fine_stamps(run):
        return False
    plain = float(np.median([abs(log(column[line] / by_line[line])) for line in common]))
    back = float(np.median([abs(log(turned[line] / by_line[line])) for line in common]))
    return back < AGREE and back < 0.5 * plain


def timing(run: Run) -> Timing:
    """The iteration times of one run, as far as its log tells."""
    column = [t for t in run.steps.column("time") if isfinite(t) and t >= 0]
    author = float(np.mean(column)) if column else None
    running = is_running_mean(run)
    iterations = run.fact("iterations per epoch")
    iterations = iterations if isinstance(iterations, int) and iterations > 0 else None
    if running:
        samples, source = [t for t, _ in undone(run)], "undone"
        if fine_stamps(run):
            samples, source = [t for t, _, _ in stretches(run)], "stamps"
    elif column:
        samples, source = column, "column"
    elif fine_stamps(run) and (found := [t for t, _, _ in stretches(run)]):
        samples, source = found, "stamps"
    elif iterations and "train_s" in run.epochs:
        samples, source = [s / iterations for s in run.epochs.column("train_s") if isfinite(s)], "epoch"
    else:
        samples, source = [], ""
    samples = [s for s in samples if s >= 0]
    warm_up = _warm_up(run, len(samples))
    fact = run.facts.get("batch size")
    return Timing(
        samples[warm_up:], source, warm_up, batch_of(run), iterations, author, running,
        stated=fact is not None and fact.line == 0 and not run.source.format.startswith("metrics.jsonl"),
    )  # fmt: skip


def _warm_up(run: Run, samples: int) -> int:
    """Samples of the first epoch where there are at least three, otherwise a tenth, one at least."""
    if samples < 3:
        return 0
    epochs = run.steps.column("epoch")
    if len({e for e in epochs if isfinite(e)}) >= 3 and run.steps.stride == 1:
        first = sum(e == epochs[0] for e in epochs)
        if first < samples / 2:
            return first
    return max(1, samples // 10)


def compare(first: Run, second: Run) -> Speed:
    """Ratios of the second to the first."""
    timings = [timing(first), timing(second)]

    def ratio(scales: list[int | None], divide: bool) -> Verdict | None:
        if any(s is None for s in scales) or not all(t.samples for t in timings):
            return None
        scaled = [[s / k if divide else s * k for s in t.samples] for t, k in zip(timings, scales, strict=True)]
        return ratio_of_medians(scaled[0], scaled[1], MARGIN)

    a, b = (t.author for t in timings)
    return Speed(
        timings,
        ratio([1, 1], True),
        ratio([t.batch for t in timings], True),
        ratio([t.iterations for t in timings], False),
        b / a if a and b is not None else None,
    )
