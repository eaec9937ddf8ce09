"""Statistics of the comparison: equivalence tests, bootstrap intervals, smoothing. NumPy and SciPy only.

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
MAX_SEEDS = 1000  # beyond this the answer is "not by adding seeds"


@dataclass(frozen=True)
class Verdict:
    """Outcome of one equivalence test.

    verdict   "equivalent", "different" or "inconclusive"
    estimate  difference (or ratio), in `unit`; None when nothing was measured
    low, high interval at level 1 - 2 ALPHA; None when it cannot be computed
    needed    seeds (or samples) it would take when inconclusive; None when unknown or beyond reach
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
    how = f"about {needed} seeds would settle it" if needed else f"more than {MAX_SEEDS} seeds would be needed"
    reason = f"{interval} crosses ±{margin:g} with {n} seeds; {how}"
    return Verdict("inconclusive", mean, low, high, margin, n, unit, needed, reason, "crosses")


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


def ratio_of_medians(first: list[float], second: list[float], margin: float, samples: int = 2000) -> Verdict:
    """Equivalence of median(second) / median(first) with 1 within a factor of 1 + margin.

    Moving-block bootstrap (blocks of n^(1/3) consecutive samples), because neighbouring timings are correlated. The
    interval covers the noise inside the two measured processes, not other machines or other days; what disturbed a
    measurement is for `withheld`.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    n = int(min(len(a), len(b)))
    if n == 0 or np.median(a) <= 0 or np.median(b) <= 0:
        return Verdict("inconclusive", None, None, None, margin, 0, "ratio", None, "not measured in both", "none")
    estimate = float(np.median(b) / np.median(a))
    if n < 5:
        reason = f"{n} samples are too few for an interval"
        return Verdict("inconclusive", estimate, None, None, margin, n, "ratio", None, reason, "few")
    rng = np.random.default_rng(0)
    ratios = np.log(_block_medians(b, samples, rng)) - np.log(_block_medians(a, samples, rng))
    low, high = (float(np.exp(q)) for q in np.quantile(ratios, [ALPHA, 1 - ALPHA]))
    interval = f"{100 * (1 - 2 * ALPHA):.0f} % interval {low:.3f} to {high:.3f}"
    band = f"{1 / (1 + margin):.3f} to {1 + margin:.3f}"
    if low > 1 / (1 + margin) and high < 1 + margin:
        reason = f"{interval} lies inside {band}"
        return Verdict("equivalent", estimate, low, high, margin, n, "ratio", None, reason, "inside")
    if low > 1 + margin or high < 1 / (1 + margin):
        reason = f"{interval} lies outside {band}"
        return Verdict("different", estimate, low, high, margin, n, "ratio", None, reason, "outside")
    edge = abs(np.log1p(margin) - abs(np.log(estimate)))
    half = (np.log(high) - np.log(low)) / 2
    # the half width shrinks with the square root of the number of samples
    needed = int(np.ceil(n * (half / edge) ** 2)) if edge > 1e-6 else None
    needed = max(needed, n + 1) if needed is not None and needed <= 1_000_000 else None
    how = f"about {needed} samples would settle it" if needed else "more samples would hardly settle it"
    reason = f"{interval} crosses {band} with {n} samples; {how}"
    return Verdict("inconclusive", estimate, low, high, margin, n, "ratio", needed, reason, "crosses")


def survives(verdict: Verdict, drift: float) -> bool:
    """Whether a verdict on a ratio holds wherever a machine that became `drift` times as slow may have moved it."""
    factor, band = max(drift, 1 / drift), 1 + verdict.margin
    low, high = verdict.low / factor, verdict.high * factor
    if verdict.verdict == "equivalent":
        return 1 / band < low and high < band
    if verdict.verdict == "different":
        return low > band or high < 1 / band
    return factor <= band


def withheld(verdict: Verdict, code: str, reason: str) -> Verdict:
    """The verdict on samples whose measurement was disturbed: estimate and interval stay, the conclusion goes."""
    return replace(verdict, verdict="inconclusive", needed=None, reason=reason, code=code)


def _block_medians(values: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Medians of `samples` moving-block resamples of a series, shape [samples]."""
    n = len(values)
    length = max(1, round(n ** (1 / 3)))
    starts = rng.integers(0, n - length + 1, (samples, -(-n // length)))
    index = (starts[:, :, None] + np.arange(length)).reshape(samples, -1)[:, :n]
    return np.median(values[index], axis=1)


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
