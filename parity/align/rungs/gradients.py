"""Rung 6: the gradient of every parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.align.compare import Difference, compare, zero_gradients
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import MINIMUM_BATCHES, TOLERANCES, Tolerance


@dataclass
class Batches:
    """Gradients of two runs on the same batches.

    found   the differences of every parameter, one for each batch on which its gradient is not zero on paper
    zero    parameters whose gradient is zero but for rounding on some batch, in both runs
    alone   parameters that have a gradient in one run only, in words
    kinked  elements that differ from every run of the first by more than "kink", relative to their tensor's root mean
            square or themselves
    size    elements that were compared
    """

    found: dict[str, list[Difference]]
    zero: set[str]
    alone: list[str]
    kinked: int = 0
    size: int = 0


def gradients(first: Probe, second: Probe) -> Rung:
    """Compare every parameter's gradient on every batch. Gradients that are zero in theory are left out.

    A ReLU whose input is within rounding of zero (a kink) switches on in one framework only. That one unit moves its
    channel's gradient by up to some percent, and the gradients before it by less. It is another unit on every batch,
    and most batches have none near a given parameter, whereas a mistake shows on most batches. So the median over the
    batches decides, for every parameter by itself: by the base tolerance, or a few times the median by which rounding
    moves the first framework from itself *at that parameter*. The share of elements that a kink may move is limited.

    The kink may be the first framework's: then its float64 and its runs with other last bits stand beside the second
    framework. So an element counts as moved by the second one only if it differs from all of these runs, as a mistake
    does.
    """
    rung = Rung(6, "gradients")
    count = first.about["settings"]["steps"]
    own = [compare_batches(first.train, again, count) for again in first.again]
    both = compare_batches(first.train, second.train, count, (first.framework, second.framework), first.again)
    for problem in both.alone:
        rung.problem(problem)
    base = TOLERANCES["gradient"]
    judged, limits, own_drift = [], {}, {}
    for name, differences in both.found.items():
        drift = [middle(run.found[name]) for run in own if name in run.found]
        tolerance = base.widened((d.relative_l2 for d in drift), (d.peak for d in drift))
        limits[name] = tolerance.limit
        own_drift[name] = max((d.relative_l2 for d in drift), default=0.0)
        judged.append((middle(differences, tolerance), tolerance))
    for d, tolerance in sorted(judged, key=lambda pair: -pair[0].ratio):
        rung.tensors([d], tolerance.limit, tolerance.peak, f"median of {len(both.found[d.name])} batches:")
    every = [d for differences in both.found.values() for d in differences]
    once = [d for run in own for differences in run.found.values() for d in differences]
    single = TOLERANCES["gradient on one batch"].widened((d.relative_l2 for d in once), (d.peak for d in once))
    rung.tensors([judged_by(d, single) for d in every], single.limit, single.peak, "on one batch:")
    medians = [d.relative_l2 for d, _ in judged]
    own_medians = [float(np.median([middle(f).relative_l2 for f in run.found.values()])) for run in own if run.found]
    usual = TOLERANCES["gradient median"].widened(own_medians)
    # What lies after a mistake has kinks too; where it begins, rounding alone moves a gradient least.
    floor = 1e-3 * usual.limit
    most = max((d for d, _ in judged), key=lambda d: d.relative_l2 / max(own_drift[d.name], floor), default=None)
    where = "median over parameters and batches" + (f", the most beyond its own drift at {most.name}" if most else "")
    rung.number(float(np.median(medians or [0])), usual.limit, "relative L2", where)
    share, ceiling = both.kinked / max(1, both.size), TOLERANCES["kinked share"].limit
    rung.number(share, ceiling, "share", f"share of elements that differ by more than {TOLERANCES['kink'].limit:g}")
    names = set().union(*(_names(probe, k) for probe in (first, second) for k in range(count)))
    rung.count("parameters", len(names), len(set(both.found) | both.zero))
    rung.count("batches", max(MINIMUM_BATCHES, count), min(count, max(map(len, both.found.values()), default=0)))
    rung.count("elements", both.size, both.size)
    if count < MINIMUM_BATCHES:
        rung.incomplete(f"{count} batches, of which the median says too little; at least {MINIMUM_BATCHES} are needed")
    worst = max(every, key=lambda d: d.relative_l2, default=None)
    rung.details |= {
        "zero": sorted(both.zero - set(both.found)),
        "median_relative_l2": float(np.median(medians)) if medians else None,
        "largest_limit": max(limits.values(), default=None),
        "worst_on_any_batch": worst.record() if worst else None,
        "kinked_share": share,
        "own_kinked_share": [run.kinked / max(1, run.size) for run in own],
        "own_median": own_medians,
    }
    return rung


def compare_batches(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    count: int,
    frameworks: tuple[str, str] = ("the first", "the second"),
    again: Sequence[Mapping[str, np.ndarray]] = (),
) -> Batches:
    """Compare the gradients `step<k>/grad/<name>` of `count` batches.

    With `again`, more runs of the first side, an element counts as kinked only if it differs from all of them too.
    """
    result, kink = Batches({}, set(), []), TOLERANCES["kink"].limit
    for k in range(count):
        sides = [side.part(f"step{k}/grad/") for side in (first, second)]
        for name in sorted(set(sides[0]) ^ set(sides[1])):
            side = int(name in sides[1])
            if np.abs(sides[side][name]).max(initial=0) > 0:  # no gradient and a gradient of zero are the same
                result.alone.append(f"{name}: has a gradient in {frameworks[side]} only, batch {k + 1}")
        zero, one = zero_gradients(*sides, TOLERANCES["zero gradient"].limit)
        result.zero |= zero
        result.alone += [f"{name}: the gradient is zero but for rounding in one framework only" for name in one]
        for name, a in sides[0].items():
            if name in zero or name not in sides[1]:
                continue
            b, key = sides[1][name], f"step{k}/grad/{name}"
            result.found.setdefault(name, []).append(compare(name, a, b, TOLERANCES["gradient"]))
            moved = _moved(a, b, kink)
            for run in again if moved.any() else ():
                moved &= _moved(run[key], b, kink) if key in run else True
            result.kinked += int(moved.sum())
            result.size += a.size if a.shape == b.shape else 0
    return result


def _moved(a: np.ndarray, b: np.ndarray, kink: float) -> np.ndarray:
    """Which elements differ by more than `kink`, as booleans; none where the shapes differ, which is told elsewhere."""
    if a.shape != b.shape:
        return np.zeros(a.shape, bool)
    a, b = a.astype(np.float64), b.astype(np.float64)
    usual = np.sqrt(np.mean(np.square(a))) if a.size else 0.0
    return np.abs(b - a) > kink * np.maximum(np.abs(a), usual)


def middle(differences: list[Difference], tolerance: Tolerance = TOLERANCES["gradient"]) -> Difference:
    """The difference of the batch in the middle, in units of `tolerance`; of an even number the worse one."""
    return sorted((judged_by(d, tolerance) for d in differences), key=lambda d: d.ratio)[len(differences) // 2]


def judged_by(d: Difference, tolerance: Tolerance) -> Difference:
    """The same difference in units of another tolerance."""
    return replace(d, ratio=d.ratio if d.problem else max(d.relative_l2 / tolerance.limit, d.peak / tolerance.peak))


def _names(probe: Probe, k: int) -> set[str]:
    return set(probe.train.under(f"step{k}/grad/"))
