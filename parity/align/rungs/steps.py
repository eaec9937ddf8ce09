"""Rung 7: whole steps of the optimiser, with the run's own rates, moments and average."""

from collections.abc import Iterator

import numpy as np

from parity.align.compare import Difference, compare, relative
from parity.align.files import Probe
from parity.align.queries import match_queries
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES, Tolerance

ROUNDING = 2.0**-23  # of a float32, relative: two roundings of half a unit
SMALLEST = 2.0**-126  # a float32 below it has fewer bits; a process with Jittor flushes it to zero


def steps(first: Probe, second: Probe) -> Rung:
    """Steps at several epochs of the run, each from the same state and with the same gradients, the first framework's.

    After them parameters, moments and average have to agree to rounding: no kink of a gradient can excuse a difference.
    Norm and clipping factor have to be what float64 gives. The change of a parameter is what is compared; a float32
    keeps it to one rounding of the parameter, which is added to the tolerance; so with moments. One more step has
    gradients of zero and a large rate: it shows weight decay, which is smaller than rounding in a usual step.
    """
    count = first.about["settings"]["steps"]
    rung = Rung(7, f"{count} optimiser steps")
    sides = [probe.train.get("step_total", ()) for probe in (first, second)]
    rung.count("losses", count, min(len(side) for side in sides))
    for i, (a, b) in enumerate(zip(*sides, strict=False)):
        rung.number(relative(a, b), TOLERANCES["loss"].limit, "relative", f"step_total[{i}]: {a:.8g} and {b:.8g}")
    for probe in (first, second):
        _clipping(rung, first, probe, count)
    for k in range(count):
        _take(rung, f"step{k}/delta", "parameters", first, second, _changes(first, second, f"step{k}/delta"))
        _take(rung, f"step{k}/moment", "moments", first, second, _moments(first, second, f"step{k}/moment"))
        _take(rung, f"step{k}/buffer", "statistics", first, second, _statistics(first, second, k))
        if f"step{k}/keep" in first.train:
            _take(rung, f"step{k}/ema", "averages", first, second, _averages(first, second, k))
    _take(rung, "decay", "decayed parameters", first, second, _changes(first, second, "decay"))
    if first.average is not None:
        _evaluated(rung, first, second)
    return rung


def _clipping(rung: Rung, first: Probe, probe: Probe, count: int) -> None:
    """The norm against that of the first framework's gradients in float64, the factor against its formula.

    So a mistake that both share is seen, and one framework's rounding is not taken for the other's.
    """
    largest = first.about["config"]["train"]["clip_norm"]
    norms, clips = (probe.train.get(name, ()) for name in ("step_grad_norm", "step_clip"))
    rung.count("norms", count, min(len(norms), len(clips)))
    for k, (norm, clip) in enumerate(zip(norms, clips, strict=False)):
        exact = float(np.sqrt(sum(_norm(gradient) ** 2 for gradient in first.train.part(f"step{k}/grad/").values())))
        factor = 1.0 if largest is None else min(1.0, largest / (exact + 1e-6))
        for name, found, wanted in (("grad_norm", norm, exact), ("clip", clip, factor)):
            where = f"step_{name}[{k}] of {probe.framework}: {found:.8g}, in float64 {wanted:.8g}"
            rung.number(relative(wanted, float(found)), TOLERANCES["step"].limit, "relative", where)


def _take(rung: Rung, prefix: str, unit: str, first: Probe, second: Probe, found: Iterator[tuple]) -> None:
    """Judge the pairs (difference, tolerance) of the arrays under `prefix`."""
    sides = [set(probe.train.under(f"{prefix}/")) for probe in (first, second)]
    for name in sorted(sides[0] ^ sides[1]):
        rung.problem(f"{prefix} {name}: only {(first if name in sides[0] else second).framework} has it")
    compared = 0
    for difference, tolerance in found:
        rung.tensors([difference], tolerance.limit, tolerance.peak, prefix)
        compared += 1
    if sides[0] | sides[1]:
        rung.count(unit, len(sides[0] | sides[1]), compared)


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64).ravel()))


def _pairs(first: Probe, second: Probe, prefix: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name, key in first.train.under(f"{prefix}/").items():
        if key in second.train:
            yield name, first.train[key], second.train[key]


def _within(name: str, a: np.ndarray, b: np.ndarray, room: float) -> tuple[Difference, Tolerance]:
    """Compare two changes; `room` is what rounding may add, as a norm."""
    size, base = _norm(a), TOLERANCES["step"]
    if size == 0 and a.shape == b.shape and _norm(b) <= room:  # nothing moves, but for rounding
        return compare(name, a, a, base), base
    tolerance = Tolerance(base.limit + (room / size if size else 0.0), base.reason)
    return compare(name, a, b, tolerance), tolerance


def _changes(first: Probe, second: Probe, prefix: str) -> Iterator[tuple[Difference, Tolerance]]:
    norms = dict(zip(first.train.under(f"{prefix}/"), first.train.get(f"{prefix}_norms", ()), strict=False))
    for name, a, b in _pairs(first, second, prefix):
        yield _within(name, a, b, ROUNDING * norms.get(name, 0.0))


def _moments(first: Probe, second: Probe, prefix: str) -> Iterator[tuple[Difference, Tolerance]]:
    """A moment is a sum of what it was before and of the gradient. Where they nearly cancel, their rounding stays: one
    rounding of the moment before is added to the tolerance.

    The square of a gradient that is zero on paper may be below SMALLEST: one framework adds it, the other zero.
    """
    norms = dict(zip(first.train.under(f"{prefix}/"), first.train.get(f"{prefix}_norms", ()), strict=False))
    for name, a, b in _pairs(first, second, prefix):
        if a.shape == b.shape:
            b = np.where(np.abs(b.astype(np.float64) - a) <= SMALLEST, a, b)
        base, size = TOLERANCES["moment"], _norm(a)
        added = ROUNDING * norms.get(name, 0.0) / size if size else 0.0
        tolerance = Tolerance(base.limit + added, base.reason, peak=base.peak + added)
        yield compare(name, a, b, tolerance), tolerance


def _statistics(first: Probe, second: Probe, k: int) -> Iterator[tuple[Difference, Tolerance]]:
    """Running statistics come from each framework's own forward pass; kinks do not move them, rounding does.

    Counted batches are whole numbers, and equal.
    """
    for name, a, b in _pairs(first, second, f"step{k}/buffer"):
        if a.dtype.kind == "i":
            yield compare(name, a, b, TOLERANCES["counter"]), TOLERANCES["counter"]
            continue
        key = f"step{k}/buffer/{name}"
        own = [compare(name, a, again[key], TOLERANCES["buffer"]) for again in first.again if key in again]
        tolerance = TOLERANCES["buffer"].widened((d.relative_l2 for d in own), (d.peak for d in own))
        yield compare(name, a, b, tolerance), tolerance


def _averages(first: Probe, second: Probe, k: int) -> Iterator[tuple[Difference, Tolerance]]:
    """The change of the average; it may differ by as much as what is averaged does, times the weight that it has."""
    keep = float(first.train[f"step{k}/keep"])
    norms = dict(zip(first.train.under(f"step{k}/ema/"), first.train[f"step{k}/ema_norms"], strict=True))
    for name, a, b in _pairs(first, second, f"step{k}/ema"):
        room = ROUNDING * norms[name]
        for source in (f"step{k}/buffer/{name}", f"step{k}/delta/{name}"):
            if source in first.train and source in second.train:
                room += (1 - keep) * _norm(second.train[source].astype(np.float64) - first.train[source])
        yield _within(name, a, b, room)


def _evaluated(rung: Rung, first: Probe, second: Probe) -> None:
    """The raw outputs on the validation images while the model carries the average of the last step."""
    if second.average is None:
        rung.problem(f"average: {second.framework} was not evaluated with it")
        return
    queries, limit = match_queries(first.average, second.average), TOLERANCES["output"]
    for name, key in first.average.under("output/").items():
        if first.average[key].dtype.kind != "f":
            continue
        if key not in second.average:
            rung.problem(f"average: output {name} is missing in {second.framework}")
            continue
        pair = (first.average[key], second.average[key])
        pair = queries.pair(*pair) if queries else pair
        rung.count("outputs of the average", 1, pair is not None)
        if pair is not None:
            rung.tensors([compare(name, *pair, limit)], limit.limit, limit.peak, "evaluated with the average:")
