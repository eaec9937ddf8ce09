"""Rung 7: whole steps of the optimiser."""

from collections.abc import Mapping

import numpy as np

from parity.align.compare import Difference, Drift, compare, median, relative, zero_gradients
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES, Tolerance


def steps(first: Probe, second: Probe) -> Rung:
    """Optimiser steps, each from the same state: losses, norms, clipping, parameters, average, BatchNorm statistics."""
    count = first.about["settings"]["steps"]
    rung = Rung(7, f"{count} optimiser steps")
    for name, quantity in (("step_total", "loss"), ("step_grad_norm", "step"), ("step_clip", "step")):
        own = [relative(a, b) for again in first.again for a, b in zip(first.train[name], again[name], strict=True)]
        limit = TOLERANCES[quantity].widened(own if quantity == "step" else ()).limit
        if name in first.train and name in second.train:
            for i, (a, b) in enumerate(zip(first.train[name], second.train[name], strict=True)):
                rung.number(relative(a, b), limit, "relative", f"{name}[{i}]: {a:.8g} and {b:.8g}")
        else:
            rung.problem(f"{name}: missing")
    elements = known = 0
    for k in range(count):
        masks = _determined(first.train, second.train, k)
        elements += sum(mask.size for mask in masks.values())
        known += sum(int(mask.sum()) for mask in masks.values())
        _changes(rung, first, second, f"step{k}/delta", "delta", k)
        _changes(rung, first, second, f"step{k}/buffer", "buffer", None)
    _changes(rung, first, second, "ema_delta", "delta", count - 1)
    rung.details["undetermined_share"] = 1 - known / max(1, elements)
    return rung


def _changes(rung: Rung, first: Probe, second: Probe, prefix: str, quantity: str, step: int | None) -> None:
    """Compare every array under `prefix`; after a `step` of Adam, over the elements whose gradient is known."""
    for key in first.train.under(f"{prefix}/").values():
        if key not in second.train:
            rung.problem(f"{key}: missing in {second.framework}")
    own = Drift([d for again in first.again for d in _changed(first.train, again, prefix, quantity, step)])
    tolerance = TOLERANCES[quantity].widened(own.limits, own.peaks)
    differences = _changed(first.train, second.train, prefix, quantity, step, tolerance)
    rung.tensors(differences, tolerance.limit, tolerance.peak, prefix)
    rung.details.setdefault("median_relative_l2", {})[prefix] = median(differences)


def _changed(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    prefix: str,
    quantity: str,
    step: int | None,
    tolerance: Tolerance | None = None,
) -> list[Difference]:
    masks, found = _determined(first, second, step) if step is not None else {}, []
    for name, key in first.under(f"{prefix}/").items():
        if key not in second:
            continue
        a, b = first[key], second[key]
        mask = masks.get(name)
        if mask is not None and mask.shape == a.shape == b.shape:
            if not mask.any():
                continue
            a, b = np.where(mask, a, 0), np.where(mask, b, 0)
        found.append(compare(name, a, b, tolerance or TOLERANCES[quantity]))
    return found


def _determined(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    """Per parameter with a gradient: elements whose gradient both sides know well enough to fix Adam's step."""
    limit = TOLERANCES["determined"].limit
    sides = [side.part(f"step{step}/grad/") for side in (first, second)]
    zero, _ = zero_gradients(*sides, TOLERANCES["zero gradient"].limit)
    return {
        name: (np.abs(b - a) <= limit * np.abs(a)) & (name not in zero)
        for name, a in sides[0].items()
        if (b := sides[1].get(name)) is not None and b.shape == a.shape
    }
