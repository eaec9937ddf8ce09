"""The design of the study as a simulation: which level each look may have, and what the test can show.

After n pairs the test computes Student's interval of the mean difference at a one-sided level. It ends with
*equivalent* when the interval lies inside the margin and with *different* when it lies outside; else it goes on. A test
with several looks errs more often, so the level of one look must be smaller than that of the whole procedure.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

ERROR = 0.05  # of the whole procedure, at a true difference of exactly the margin
SEED = 20240607
BLOCK = 20_000  # simulated studies at a time, to bound memory


@dataclass(frozen=True)
class Outcome:
    """How simulated studies ended, as shares; `pairs` is the mean number of pairs until the end."""

    equivalent: float
    different: float
    inconclusive: float
    pairs: float


def bounds(differences: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the mean along the last axis: Student's interval, each bound at the one-sided `level`."""
    n = differences.shape[-1]
    half = stats.t.ppf(1 - level, n - 1) * differences.std(axis=-1, ddof=1) / np.sqrt(n)
    mean = differences.mean(axis=-1)
    return mean - half, mean + half


def level_of_look(looks: list[int], studies: int = 1_000_000, error: float = ERROR, seed: int = SEED) -> float:
    """The one-sided level of every look at which a study errs with probability `error`.

    At a true difference of the margin, *equivalent* is an error that happens when some look has p <= level; the spread
    does not matter where it is small against the margin, and where it is not, errors are rarer. So the level is the
    quantile `error` of the smallest p over the looks.
    """
    rng, smallest = np.random.default_rng(seed), []
    for start in range(0, studies, BLOCK):
        values = rng.standard_normal((min(BLOCK, studies - start), looks[-1]))
        p = [stats.t.cdf(_t(values[:, :n]), n - 1) for n in looks]
        smallest.append(np.min(p, axis=0))
    return float(np.quantile(np.concatenate(smallest), error))


def _t(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]))


def simulate(
    looks: list[int], level: float, spread: float, difference: float, margin: float, studies: int, seed: int = SEED
) -> Outcome:
    """Outcome of studies whose pairs differ by `difference` on average, with the standard deviation `spread`."""
    rng = np.random.default_rng([seed, round(1000 * spread), round(1000 * difference)])
    ends = np.zeros(3)
    pairs = 0
    for start in range(0, studies, BLOCK):
        values = difference + spread * rng.standard_normal((min(BLOCK, studies - start), looks[-1]))
        for n in looks:
            low, high = bounds(values[:, :n], level)
            same, other = (low > -margin) & (high < margin), (low > margin) | (high < -margin)
            ends += [same.sum(), other.sum(), 0]
            pairs += n * int((same | other).sum())
            values = values[~(same | other)]
        ends[2] += len(values)
        pairs += looks[-1] * len(values)
    return Outcome(*(ends / studies), pairs / studies)


def table(looks: list[int], level: float, margin: float, studies: int = 200_000) -> list[dict[str, float]]:
    """One row per spread 0.5 to 2.5: power at a true difference of 0, and the two errors at the margin."""
    rows = []
    for spread in np.arange(0.5, 2.51, 0.25):
        zero = simulate(looks, level, spread, 0.0, margin, studies)
        edge = simulate(looks, level, spread, margin, margin, studies)
        row = {"spread": float(spread), "power": zero.equivalent, "pairs": zero.pairs, "wrong": zero.different}
        rows.append(row | {"equivalent": edge.equivalent, "different": edge.different})
    return rows


def page(looks: list[int], level: float, margin: float, studies: int = 200_000) -> str:
    """The table in Markdown, with how it was made."""
    names = ["sd of the paired difference", "power", "mean pairs", "wrongly different"]
    names += ["error at the margin: equivalent", "error at the margin: different"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    for row in table(looks, level, margin, studies):
        shares = [f"{row[key]:.3f}" for key in ("wrong", "equivalent", "different")]
        cells = [f"{row['spread']:.2f}", f"{row['power']:.2f}", f"{row['pairs']:.1f}", *shares]
        lines.append("| " + " | ".join(cells) + " |")
    text = (
        f"Looks after {', '.join(map(str, looks))} pairs, one-sided level {level:g} at each, margin ±{margin:g}"
        f" points, {studies:,} simulated studies a row. Power is the share that ends *equivalent* when the true"
        " difference is 0; the errors are the shares that end so when the true difference is exactly the margin."
    )
    return f"{text}\n\n" + "\n".join(lines) + "\n"
