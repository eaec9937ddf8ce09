"""Statistics of the comparison: equivalence tests, intervals over seeds and processes, smoothing. NumPy and SciPy only.

Verdicts follow the two one-sided tests (TOST; Schuirmann 1987) and their mirror image, at level ALPHA:
*equivalent*    the 1 - 2 ALPHA interval of the difference lies inside the margin,
*different*     it lies wholly outside, so that the difference is shown to exceed the margin,
*inconclusive*  anything else, a single seed included.
A difference that is real but smaller than the margin is therefore *equivalent*; that is what a margin means.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

ALPHA = 0.05
POWER = 0.8  # seeds_needed is the number at which a test of this power would settle the question
MIN_PROCESSES = 3  # per setting; with fewer processes their spread is hardly known
MAX_SEEDS = 1000  # with a larger number the answer is "not by adding seeds"


@dataclass(frozen=True)
class Verdict:
    """Outcome of one equivalence test.

    verdict   "equivalent", "different" or "inconclusive"
    estimate  difference (or ratio), in `unit`; None when nothing was measured
    low, high interval at level 1 - 2 ALPHA; None when it cannot be computed
    needed    seeds (or processes) it would take when inconclusive, if the difference seen were the true one; None when
              unknown or beyond reach
    needed_if_zero  the same for a true difference of zero
    spread    of each side, in the order compared: standard deviation of the logarithm between processes
    reason    one sentence in English, for a person
    code      the reason as a word, for templates in other languages
    """

    verdict: str
    estimate: float | None
    low: float | None
    high: float | None
    margin: float
    n: int
    unit: str
    needed: int | None
    reason: str
    code: str
    needed_if_zero: int | None = None
    spread: tuple[float, float] | None = None


def tost_paired(first: list[float], second: list[float], margin: float, unit: str = "AP points") -> Verdict:
    """Paired equivalence test of `second - first`; entry i of both belongs to seed i. Student's t interval."""
    if len(first) != len(second):
        raise ValueError(f"paired test of {len(first)} against {len(second)} values")
    delta = np.asarray(second, float) - np.asarray(first, float)
    n = len(delta)
    if n == 0:
        reason = "no seed was measured in both frameworks"
        return Verdict("inconclusive", None, None, None, margin, 0, unit, None, reason, "none")
    mean = float(delta.mean())
    if n == 1:
        reason = (
            "one seed shows nothing about the spread between seeds; at least 2 are needed, "
            "and only then can the number that would settle it be given"
        )
        return Verdict("inconclusive", mean, None, None, margin, 1, unit, None, reason, "one_seed")
    deviation = float(delta.std(ddof=1))
    if deviation == 0 and not (np.any(first) or np.any(second)):
        reason = "both sides are 0 for every seed: nothing was detected, so there is nothing to compare"
        return Verdict("inconclusive", mean, None, None, margin, n, unit, None, reason, "no_evidence")
    if deviation == 0:
        reason = "the differences of all seeds are exactly the same, so nothing is known about their spread"
        return Verdict("inconclusive", mean, None, None, margin, n, unit, None, reason, "no_spread")
    half = float(stats.t.ppf(1 - ALPHA, n - 1)) * deviation / np.sqrt(n)
    low, high = mean - half, mean + half
    interval = f"{100 * (1 - 2 * ALPHA):.0f} % interval {low:+.2f} to {high:+.2f} {unit}"
    if -margin < low and high < margin:
        reason = f"{interval} lies inside ±{margin:g}"
        return Verdict("equivalent", mean, low, high, margin, n, unit, None, reason, "inside")
    if low > margin or high < -margin:
        reason = f"{interval} lies outside ±{margin:g}"
        return Verdict("different", mean, low, high, margin, n, unit, None, reason, "outside")
    needed = seeds_needed(mean, deviation, margin, at_least=n + 1)
    at_zero = seeds_needed(0.0, deviation, margin, at_least=n + 1)
    counts = [str(count) if count else f"more than {MAX_SEEDS}" for count in (needed, at_zero)]
    reason = (
        f"{interval} crosses ±{margin:g} with {n} seeds; if the difference seen is the true one, about {counts[0]}"
        f" seeds would settle it, if the true difference is zero, about {counts[1]}"
    )
    return Verdict("inconclusive", mean, low, high, margin, n, unit, needed, reason, "crosses", at_zero)


def seeds_needed(mean: float, deviation: float, margin: float, at_least: int = 2) -> int | None:
    """Seeds at which the test would settle with probability POWER if the true mean and deviation were those observed.

    n = ((t_{1-a} + t_{power}) s / d)^2, d the distance of the mean to the nearer margin, t with n - 1 degrees of
    freedom; for a mean at the centre of the margin both tests must succeed, hence (1 + POWER) / 2.
    None beyond MAX_SEEDS.
    """
    distance = abs(margin - abs(mean))
    both = abs(mean) < 0.1 * margin
    for n in range(max(2, at_least), MAX_SEEDS + 1):
        spread = stats.t.ppf(1 - ALPHA, n - 1) + stats.t.ppf((1 + POWER) / 2 if both else POWER, n - 1)
        if spread * deviation / np.sqrt(n) < distance:
            return n
    return None


def ratio_of_processes(first: list[list[float]], second: list[list[float]], margin: float) -> Verdict:
    """Equivalence of second / first with 1 within a factor of 1 + margin; one list of times per process.

    Times of one process are no independent samples: memory layout, the state of caches and the order of threads differ
    from process to process and stay within one. So a process counts once, by the logarithm of its median, and the
    interval is Student's t over processes, with Welch's degrees of freedom.
    """
    sides = [np.array([np.median(times) for times in side if len(times)], float) for side in (first, second)]
    n = min(len(side) for side in sides)
    if n == 0 or any((side <= 0).any() for side in sides):
        return Verdict("inconclusive", None, None, None, margin, 0, "ratio", None, "not measured in both", "none")
    a, b = (np.log(side) for side in sides)
    centre = float(b.mean() - a.mean())
    estimate = float(np.exp(centre))
    if n < MIN_PROCESSES:
        reason = f"{n} processes are too few for an interval, {MIN_PROCESSES} are needed"
        return Verdict("inconclusive", estimate, None, None, margin, n, "ratio", None, reason, "few")
    spread = (float(a.std(ddof=1)), float(b.std(ddof=1)))
    parts = [side.var(ddof=1) / len(side) for side in (a, b)]
    error = float(np.sqrt(sum(parts)))
    freedom = 1.0
    if error > 0:
        freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    half = float(stats.t.ppf(1 - ALPHA, freedom)) * error
    low, high = float(np.exp(centre - half)), float(np.exp(centre + half))
    interval, band = f"{100 * (1 - 2 * ALPHA):.0f} % interval {low:.3f} to {high:.3f}", f"±{100 * margin:g} %"
    edges = (low, high, margin, n, "ratio")
    limit = float(np.log1p(margin))
    if centre - half > -limit and centre + half < limit:
        reason = f"{interval} lies inside {band}"
        return Verdict("equivalent", estimate, *edges, None, reason, "inside", None, spread)
    if centre - half > limit or centre + half < -limit:
        reason = f"{interval} lies outside {band}"
        return Verdict("different", estimate, *edges, None, reason, "outside", None, spread)
    deviation = error * np.sqrt(n)  # of one pair of processes
    needed = seeds_needed(centre, deviation, limit, at_least=n + 1)
    at_zero = seeds_needed(0.0, deviation, limit, at_least=n + 1)
    counts = [str(count) if count else f"more than {MAX_SEEDS}" for count in (needed, at_zero)]
    reason = (
        f"{interval} crosses {band} with {n} processes each; if the ratio seen is the true one, about {counts[0]} would"
        f" settle it, if the true ratio is 1, about {counts[1]}"
    )
    return Verdict("inconclusive", estimate, *edges, needed, reason, "crosses", at_zero, spread)


def margin_for(absolute: float, relative: float, level: float | None) -> float:
    """The smaller of an absolute margin and a share of the level that is compared, both in the level's unit."""
    return absolute if level is None else min(absolute, relative * level)


def survives(verdict: Verdict, drift: float) -> bool:
    """Whether a verdict on a ratio still holds if the machine became `drift` times as slow on one side only."""
    factor, band = max(drift, 1 / drift), 1 + verdict.margin
    low, high = verdict.low / factor, verdict.high * factor
    if verdict.verdict == "equivalent":
        return 1 / band < low and high < band
    if verdict.verdict == "different":
        return low > band or high < 1 / band
    return factor <= band


def withheld(verdict: Verdict, code: str, reason: str) -> Verdict:
    """The verdict on samples of a disturbed measurement: estimate and interval stay, the verdict is inconclusive."""
    return replace(verdict, verdict="inconclusive", needed=None, reason=reason, code=code)


def smooth(values: list[float], factor: float = 0.9) -> np.ndarray:
    """Exponential moving average without start-up bias: y_t = sum f^(t-i) x_i / sum f^(t-i).

    NaN and infinity are skipped.
    """
    values = np.asarray(values, float)
    result = np.full(len(values), np.nan)
    total = weight = 0.0
    for i, value in enumerate(values):
        total, weight = factor * total, factor * weight
        if np.isfinite(value):
            total, weight = total + value, weight + 1
        if weight:
            result[i] = total / weight
    return result


def summary(values: list[float]) -> dict[str, Any]:
    """n, mean, p50, p90, p95, p99, min, max of a sample; all None but n when it is empty."""
    keys = ("mean", "p50", "p90", "p95", "p99", "min", "max")
    array = np.asarray([v for v in values if v is not None], float)
    if not len(array):
        return {"n": 0, **dict.fromkeys(keys)}
    p50, p90, p95, p99 = np.quantile(array, [0.5, 0.9, 0.95, 0.99])
    numbers = (array.mean(), p50, p90, p95, p99, array.min(), array.max())
    return {"n": len(array), **{key: float(value) for key, value in zip(keys, numbers, strict=True)}}
