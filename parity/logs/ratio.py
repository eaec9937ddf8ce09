"""The ratio of iteration times of two logs, with an interval.

A log is one process on one machine. Its interval covers the noise inside that process only; another start of the same
training may differ by more. The speed of this project's own runs is judged over several processes
(`parity.compare.stats.ratio_of_processes`); logs of other people seldom hold more than one.
"""

import numpy as np

from parity.compare.stats import ALPHA, Verdict

FEWEST = 5  # samples for an interval


def ratio_of_medians(first: list[float], second: list[float], margin: float, samples: int = 2000) -> Verdict:
    """Equivalence of median(second) / median(first) with 1 within a factor of 1 + margin.

    Moving-block bootstrap (blocks of n^(1/3) consecutive samples), because neighbouring timings are correlated.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    n = int(min(len(a), len(b)))
    if n == 0 or np.median(a) <= 0 or np.median(b) <= 0:
        return Verdict("inconclusive", None, None, None, margin, 0, "ratio", None, "not measured in both", "none")
    estimate = float(np.median(b) / np.median(a))
    if n < FEWEST:
        reason = f"{n} samples are too few for an interval"
        return Verdict("inconclusive", estimate, None, None, margin, n, "ratio", None, reason, "few")
    rng = np.random.default_rng(0)
    ratios = np.log(_block_medians(b, samples, rng)) - np.log(_block_medians(a, samples, rng))
    low, high = (float(np.exp(q)) for q in np.quantile(ratios, [ALPHA, 1 - ALPHA]))
    interval = f"{100 * (1 - 2 * ALPHA):.0f} % interval {low:.3f} to {high:.3f}"
    band = f"{1 / (1 + margin):.3f} to {1 + margin:.3f}"
    if low > 1 / (1 + margin) and high < 1 + margin:
        verdict, how, code = "equivalent", "lies inside", "inside"
    elif low > 1 + margin or high < 1 / (1 + margin):
        verdict, how, code = "different", "lies outside", "outside"
    else:
        verdict, how, code = "inconclusive", "crosses", "crosses"
    return Verdict(verdict, estimate, low, high, margin, n, "ratio", None, f"{interval} {how} {band}", code)


def _block_medians(values: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Medians of `samples` moving-block resamples of a series, shape [samples]."""
    n = len(values)
    length = max(1, round(n ** (1 / 3)))
    starts = rng.integers(0, n - length + 1, (samples, -(-n // length)))
    index = (starts[:, :, None] + np.arange(length)).reshape(samples, -1)[:, :n]
    return np.median(values[index], axis=1)
