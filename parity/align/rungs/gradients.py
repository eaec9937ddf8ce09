"""Rung 6: the gradient of every parameter."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from parity.align.compare import Difference, Drift, compare, median, zero_gradients
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES, Tolerance


def gradients(first: Probe, second: Probe) -> Rung:
    """Of every parameter on every batch. What is zero on paper is recognised and left out.

    A ReLU whose input is within rounding of zero switches on in one framework only; that one unit moves a channel's
    gradient by up to a percent, and every gradient before it. It is another unit on every batch, whereas a mistake
    shows on all of them: on its best batch a parameter has to agree as well as the first framework agrees with itself
    on its best batch, and so has the median over parameters, which one unit near the loss can move too, because every
    gradient before it passes through.
    """
    rung, tolerance = Rung(6, "gradients"), TOLERANCES["gradient"]
    count = first.about["settings"]["steps"]
    runs = [[_gradients(first.train, again, k)[0] for k in range(count)] for again in first.again]
    drift = Drift([d for run in runs for found in run for d in found])
    middle = TOLERANCES["gradient median"].widened(min(median(found) or 0.0 for found in run) for run in runs)
    least = Drift([d for run in runs for d in _best(run)])
    plain = tolerance.widened(least.limits, least.peaks)
    allowed = tolerance.widened(drift.limits, drift.peaks)
    cosine = TOLERANCES["gradient cosine"].widened(max(0.0, 1 - d.cosine) for d in drift.differences)
    batches: list[list[Difference]] = []
    zeros: set[str] = set()
    for k in range(count):
        sides = [probe.train.part(f"step{k}/grad/") for probe in (first, second)]
        for name in sorted(set(sides[0]) ^ set(sides[1])):
            has = first.framework if name in sides[0] else second.framework
            present = sides[0].get(name, sides[1].get(name))
            if np.abs(present).max(initial=0) > 0:  # no gradient and a gradient of zero are the same
                rung.problem(f"{name}: has a gradient in {has} only")
        found, zero, one = _gradients(first.train, second.train, k, allowed)
        batches.append(found)
        zeros |= zero
        for name in one:
            rung.problem(f"{name}: the gradient is zero but for rounding in one framework only")
        rung.tensors(found, allowed.limit, allowed.peak, f"batch {k + 1}:")
        for d in sorted(found, key=lambda d: d.cosine)[:1]:
            rung.number(max(0.0, 1 - d.cosine), cosine.limit, "1 - cosine", f"{d.name}: cosine {d.cosine:.9f}")
    medians = [median(found) or 0.0 for found in batches]
    where = f"median over parameters, batch {int(np.argmin(medians or [0])) + 1}"
    rung.number(min(medians, default=0.0), middle.limit, "median relative L2", where)
    best = _best(batches)
    rung.tensors(_judged(best, plain), plain.limit, plain.peak, "best batch:")
    rung.compared = len(best)
    rung.details |= {
        "zero": sorted(zeros - {d.name for d in best}),
        "median_relative_l2": median([d for found in batches for d in found]),
        "allowed": {"relative_l2": allowed.limit, "peak": allowed.peak, "1 - cosine": cosine.limit},
        "drift": {"worst": max(drift.limits, default=None), "median": median(drift.differences)},
        "against_float64": _against_referee(first, second),
    }
    return rung


def _gradients(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], step: int, tolerance: Tolerance | None = None
) -> tuple[list[Difference], set[str], list[str]]:
    """Differences of all gradients that are not zero on paper, and the names of those that are, or are on one side."""
    sides = [side.part(f"step{step}/grad/") for side in (first, second)]
    zero, one = zero_gradients(*sides, TOLERANCES["zero gradient"].limit)
    names = [name for name in sides[0] if name in sides[1] and name not in zero]
    tolerance = tolerance or TOLERANCES["gradient"]
    return [compare(name, sides[0][name], sides[1][name], tolerance) for name in names], zero, one


def _best(batches: list[list[Difference]]) -> list[Difference]:
    """Of every parameter the batch on which it agrees best."""
    found: dict[str, list[Difference]] = {}
    for d in (d for batch in batches for d in batch):
        found.setdefault(d.name, []).append(d)
    return [min(same, key=lambda d: d.ratio) for same in found.values()]


def _judged(differences: list[Difference], tolerance: Tolerance) -> list[Difference]:
    """The same differences in units of another tolerance."""
    return [replace(d, ratio=max(d.relative_l2 / tolerance.limit, d.peak / tolerance.peak)) for d in differences]


def _against_referee(first: Probe, second: Probe) -> dict[str, Any] | None:
    """How far each framework's gradients are from the first framework's in float64."""
    if first.referee is None:
        return None
    found = {}
    for probe in (first, second):
        differences = [
            d
            for k in range(first.about["settings"]["steps"])
            for d in _gradients(first.referee, probe.train, k)[0]
        ]  # fmt: skip
        worst = max(differences, key=lambda d: d.relative_l2, default=None)
        found[probe.framework] = {"worst": worst.relative_l2, "at": worst.name, "median": median(differences)}
    return found
