"""Verdicts of a study from its rows alone: pairs, looks, the null arm, the permutation test, companions.

The value of a seed in a framework is the mean over its draws, the untouched start and those with other last bits. Both
frameworks start from the same files, so no draw favours one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from scipy import stats

from parity.compare.stats import margin_for
from parity.study.design import bounds
from parity.study.protocol import Protocol
from parity.study.rows import METRICS, Row, counted

PERMUTATIONS = 10_000
COMPANION_LEVEL = 0.05  # one-sided: companions are shown with 90 % intervals and not judged


@dataclass(frozen=True)
class Pair:
    """The runs of one seed by (framework, draw); None where a run failed. `failed` names those."""

    seed: int
    runs: dict[tuple[str, int], Row | None]

    @property
    def failed(self) -> list[str]:
        """The runs that failed, for a message."""
        return [f"{name} seed {self.seed} draw {draw}" for (name, draw), row in self.runs.items() if row is None]

    def values(self, framework: str, metric: str = "AP") -> list[float]:
        """The metric of a framework's runs, draw 0 first; [] where one of them has none."""
        rows = [row for (name, _), row in sorted(self.runs.items()) if name == framework]
        found = [None if row is None else getattr(row, metric) for row in rows]
        return [] if None in found else found

    def difference(self, metric: str = "AP") -> float | None:
        """Jittor - PyTorch, each the mean over its draws."""
        torch, jittor = self.values("torch", metric), self.values("jittor", metric)
        return fmean(jittor) - fmean(torch) if torch and jittor else None

    def null(self, framework: str, metric: str = "AP") -> float | None:
        """The framework against itself: mean of the draws with other last bits - the main run."""
        values = self.values(framework, metric)
        return fmean(values[1:]) - values[0] if len(values) > 1 else None


@dataclass(frozen=True)
class Look:
    """One look: pairs seen and pairs with a value, estimate with interval at the look's level, and the outcome."""

    pairs: int
    used: int
    estimate: float
    low: float
    high: float
    margin: float
    outcome: str  # equivalent, different, goes on
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """What the rows of one start say. `verdict` is equivalent, different, inconclusive or nothing counted."""

    start: str
    verdict: str
    reason: str
    pairs: list[Pair]
    looks: list[Look] = field(default_factory=list)

    @property
    def decided(self) -> bool:
        return self.verdict in ("equivalent", "different")

    @property
    def counted(self) -> list[Pair]:
        """The pairs that the last look saw; all of them before the first look."""
        return self.pairs[: self.looks[-1].pairs] if self.looks else self.pairs


def pairs_of(rows: Sequence[Row], protocol: Protocol, start: str) -> list[Pair]:
    """Complete seeds, in the protocol's order, up to the first one that lacks a run."""
    every = {(row.seed, row.framework, row.draw): row for row in counted(rows, start) if not row.done}
    every |= {(row.seed, row.framework, row.draw): row for row in counted(rows, start) if row.done}
    pairs = []
    for seed in protocol.seeds:
        places = [(name, draw) for draw in range(protocol.draws + 1) for name in ("torch", "jittor")]
        if any((seed, *place) not in every for place in places):
            break
        found = {place: every[seed, *place] for place in places}
        pairs.append(Pair(seed, {place: row if row.done else None for place, row in found.items()}))
    return pairs


def judge(rows: Sequence[Row], protocol: Protocol, start: str) -> Judgement:
    """The verdict of one start. The first look that decides is final: later pairs are shown, and change nothing."""
    pairs = pairs_of(rows, protocol, start)
    if not pairs:
        return Judgement(start, "nothing counted", "no pair has been counted yet", pairs)
    looks: list[Look] = []
    for n in protocol.looks:
        if n > len(pairs):
            break
        looks.append(_look(pairs[:n], protocol))
        if looks[-1].outcome in ("equivalent", "different"):
            break
    if not looks:
        reason = f"{_count(len(pairs))} so far, the first look is after {protocol.looks[0]}"
        return Judgement(start, "inconclusive", reason, pairs)
    last = looks[-1]
    interval = f"{last.estimate:+.2f} points, {last.low:+.2f} to {last.high:+.2f} after {_count(last.used)}"
    if last.outcome == "goes on":
        ended = last.pairs == protocol.looks[-1]
        follows = "that was the last look" if ended else f"the next look is after {_next(protocol, last.pairs)} pairs"
        return Judgement(start, "inconclusive", f"{interval}: {last.note}; {follows}", pairs, looks)
    where = "inside" if last.outcome == "equivalent" else "outside"
    return Judgement(start, last.outcome, f"{interval} lies {where} ±{last.margin:g}", pairs, looks)


def _look(pairs: list[Pair], protocol: Protocol) -> Look:
    """One look at the first pairs."""
    differences = [d for pair in pairs if (d := pair.difference()) is not None]
    n, used = len(pairs), len(differences)
    if used < 2:
        nan = float("nan")
        return Look(n, used, nan, nan, nan, protocol.margin, "goes on", "fewer than 2 pairs without a failed run")
    level = fmean(fmean(pair.values("torch")) for pair in pairs if pair.difference() is not None)
    margin = margin_for(protocol.margin, protocol.margin_relative, level)
    estimate = fmean(differences)
    low, high = map(float, bounds(np.array(differences), protocol.level))
    seen = (n, used, estimate, low, high, margin)
    if low == high:
        return Look(*seen, "goes on", "all differences are the same, so nothing is known about their spread")
    if low > margin or high < -margin:
        return Look(*seen, "different")
    if not (-margin < low and high < margin):
        return Look(*seen, "goes on", f"crosses ±{margin:g}")
    if doubt := _doubt(pairs, protocol, level, margin):
        return Look(*seen, "goes on", f"inside ±{margin:g}, but {doubt}")
    return Look(*seen, "equivalent")


def _doubt(pairs: list[Pair], protocol: Protocol, level: float, margin: float) -> str:
    """Why an interval inside the margin is not called equivalent; empty where nothing speaks against it."""
    if failed := [name for pair in pairs for name in pair.failed]:
        return f"{len(failed)} run{'s' * (len(failed) > 1)} failed ({', '.join(failed[:3])})"
    if level < protocol.floor:
        return f"PyTorch's AP is {level:.1f}, below the floor of {protocol.floor:g}"
    for framework in ("torch", "jittor"):
        low, high = null_interval(pairs, protocol.level, framework)
        if low > margin or high < -margin:
            return f"{framework} differs from itself ({low:+.2f} to {high:+.2f})"
    return ""


def null_interval(pairs: Sequence[Pair], level: float, framework: str, metric: str = "AP") -> tuple[float, float]:
    """Interval of the null arm, each bound at the one-sided level; NaN with fewer than two pairs."""
    values = [d for pair in pairs if (d := pair.null(framework, metric)) is not None]
    if len(values) < 2:
        return float("nan"), float("nan")
    low, high = bounds(np.array(values), level)
    return float(low), float(high)


def _next(protocol: Protocol, pairs: int) -> int:
    return next(n for n in protocol.looks if n > pairs)


def _count(pairs: int) -> str:
    return f"{pairs} pair{'s' * (pairs != 1)}"


@dataclass(frozen=True)
class Companion:
    """A secondary metric on the counted pairs: both means, the difference, its 90 % interval; None where too few."""

    metric: str
    pairs: int
    torch: float
    jittor: float
    estimate: float
    low: float | None
    high: float | None


def companions(judgement: Judgement) -> list[Companion]:
    """AP itself first, then the metrics that are shown beside it."""
    found = []
    for metric in METRICS:
        pairs = [pair for pair in judgement.counted if pair.difference(metric) is not None]
        if not pairs:
            continue
        differences = np.array([pair.difference(metric) for pair in pairs])
        low, high = map(float, bounds(differences, COMPANION_LEVEL)) if len(pairs) > 1 else (None, None)
        means = [fmean(fmean(pair.values(name, metric)) for pair in pairs) for name in ("torch", "jittor")]
        found.append(Companion(metric, len(pairs), *means, float(differences.mean()), low, high))
    return found


@dataclass(frozen=True)
class Permuted:
    """The permutation test: observed shift and excess distance, in points, and the share of relabelled sets as far."""

    shift: float
    shift_p: float
    distance: float
    distance_p: float
    seeds: int


def permutation(judgement: Judgement, permutations: int = PERMUTATIONS, seed: int = 0) -> Permuted | None:
    """Is Jittor against PyTorch more shifted, or wider, than PyTorch against itself? Labels are permuted within seeds.

    Shift: the mean over seeds of mean(Jittor) - mean(PyTorch), two-sided. Distance: the mean over seeds of the mean
    |difference| between runs of two frameworks minus that between runs of one (the energy distance, halved); large is
    wide. None where no seed has all its runs.
    """
    pairs = [pair for pair in judgement.counted if pair.difference() is not None]
    if not pairs:
        return None
    values = np.array([[*pair.values("torch"), *pair.values("jittor")] for pair in pairs])  # [seeds, runs]
    labels = np.repeat([False, True], values.shape[1] // 2)
    rng = np.random.default_rng(seed)
    given = np.broadcast_to(labels, (1, *values.shape))
    blocks = [_statistics(values, given)]  # the observed labels first
    for start in range(0, permutations, 1000):  # in blocks, to bound memory
        count = min(1000, permutations - start)
        blocks.append(_statistics(values, rng.permuted(np.repeat(given, count, axis=0), axis=-1)))
    shifts, distances = np.concatenate(blocks, axis=1)
    slack = 1e-9  # sums in another order differ by rounding, and a tie counts
    return Permuted(
        float(shifts[0]),
        float((np.abs(shifts) >= abs(shifts[0]) - slack).mean()),
        float(distances[0]),
        float((distances >= distances[0] - slack).mean()),
        len(pairs),
    )


def _statistics(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(shift, distance) [2, P] of values [seeds, runs] under labels [P, seeds, runs], true for Jittor."""
    signs, apart = np.where(labels, 1.0, -1.0), np.abs(values[:, :, None] - values[:, None, :])
    half = values.shape[1] // 2
    shifts = (signs * values).sum(-1).mean(-1) / half
    # The sign of a product says whether two runs have one label; a run with itself is 0 apart.
    alike = np.einsum("psi,psj,sij->ps", signs, signs, apart)
    between, inside = (apart.sum((1, 2)) - alike) / 2, (apart.sum((1, 2)) + alike) / 2
    distances = between / (2 * half * half) - inside / max(1, 2 * half * (half - 1))
    return np.stack([shifts, distances.mean(-1)])


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in points: of the paired difference, of single runs of two frameworks, of one framework."""

    paired: float
    between: float
    torch: float | None
    jittor: float | None


def spreads(judgement: Judgement) -> Spread | None:
    """How far chance alone spreads results, from the counted pairs; None with fewer than two.

    `between` is the deviation of one Jittor run from the PyTorch run of the same seed and draw, `torch` and `jittor`
    that of two runs of one framework with the same seed and other last bits.
    """
    pairs = [pair for pair in judgement.counted if pair.difference() is not None]
    if len(pairs) < 2:
        return None
    torch, jittor = (np.array([pair.values(name) for pair in pairs]) for name in ("torch", "jittor"))
    paired = float((jittor.mean(1) - torch.mean(1)).std(ddof=1))

    def inner(values: np.ndarray) -> float | None:
        return float(np.sqrt(2 * values.var(axis=1, ddof=1).mean())) if values.shape[1] > 1 else None

    return Spread(paired, float((jittor - torch).std(axis=0, ddof=1).mean()), inner(torch), inner(jittor))


@dataclass(frozen=True)
class Pooled:
    """The mean over models, which replaces none of them."""

    models: int
    estimate: float
    low: float
    high: float


def pooled(judgements: Sequence[Judgement]) -> Pooled | None:
    """Mean of the models' estimates with a 90 % interval (Welch's degrees of freedom); None for fewer than two."""
    sets = [[d for pair in j.counted if (d := pair.difference()) is not None] for j in judgements]
    sets = [np.array(values) for values in sets if len(values) > 1]
    if len(sets) < 2:
        return None
    parts = np.array([values.var(ddof=1) / len(values) for values in sets])
    if not parts.sum():
        return None
    freedom = parts.sum() ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, sets, strict=True))
    estimate = float(np.mean([values.mean() for values in sets]))
    half = float(stats.t.ppf(1 - COMPANION_LEVEL, freedom) * np.sqrt(parts.sum()) / len(sets))
    return Pooled(len(sets), estimate, estimate - half, estimate + half)
