"""Rungs 5 to 10: losses, gradients, optimiser steps, the schedule, training, AP."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.align.compare import Difference, compare, zero_gradients
from parity.align.files import Probe
from parity.align.lower_rungs import judge_queries, match_queries
from parity.align.queries import Queries
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES, Tolerance


def relative(first: float, second: float) -> float:
    """|second - first| / |first|; 0 for equal numbers, infinite for something beside nothing."""
    return 0.0 if first == second else abs(second - first) / abs(first) if first else float("inf")


def losses(first: Probe, second: Probe) -> Rung:
    """Every component, the total, and which query was matched with which box."""
    rung, limit = Rung(5, "losses and matches"), TOLERANCES["loss"].limit
    queries = match_queries(first.train, second.train)
    judge_queries(rung, queries)
    names = [*first.train.under("loss/").values(), "total"]
    for name in sorted(set(names) | set(second.train.under("loss/").values())):
        if name not in first.train or name not in second.train:
            rung.problem(f"{name}: only one framework computes it")
            continue
        a, b = float(first.train[name]), float(second.train[name])
        rung.number(relative(a, b), limit, "relative", f"{name}: {a:.8g} and {b:.8g}")
    pairs = 0
    for name in first.train.under("match/"):
        if not name.endswith("/src"):
            continue
        head = name.removesuffix("/src")
        sides = [
            _matched(probe, head, order) for probe, order in zip((first, second), _orders(queries, head), strict=True)
        ]
        pairs += len(sides[0])
        differing = sorted(sides[0] ^ sides[1])
        rung.number(len(differing), 0, "pairs", f"match {head}" + (f": {differing[:3]}" if differing else ""))
    for name, key in first.train.under("assign/").items():
        differing = np.flatnonzero(first.train[key] != second.train[key])
        rung.number(len(differing), 0, "places", f"assign {name}" + (f": {differing[:3]}" if differing.size else ""))
    rung.details |= {"matched_pairs": pairs, "components": len(names)}
    return rung


def _orders(queries: Queries | None, head: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Positions that name the queries of an image on both sides; None where the index itself is the name.

    Denoising queries come with the ground truth, and are not picked.
    """
    image = head.rpartition("img")[2]
    if queries is None or head.startswith("dn") or not image.isdigit():
        return None, None
    return queries.first[int(image)], queries.second[int(image)]


def _matched(probe: Probe, head: str, positions: np.ndarray | None) -> set[tuple[int, int]]:
    """{(query, box)} of one image, queries named by their position in the encoder where they were picked from it."""
    source, target = (probe.train[f"match/{head}/{side}"].astype(np.int64) for side in ("src", "tgt"))
    return set(zip((source if positions is None else positions[source]).tolist(), target.tolist(), strict=True))


@dataclass
class Drift:
    """How far rounding alone moves the first framework from itself, tensor by tensor."""

    differences: list[Difference]

    @property
    def limits(self) -> list[float]:
        return [d.relative_l2 for d in self.differences]

    @property
    def peaks(self) -> list[float]:
        return [d.peak for d in self.differences]


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
    middle = TOLERANCES["gradient median"].widened(min(_median(found) or 0.0 for found in run) for run in runs)
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
    medians = [_median(found) or 0.0 for found in batches]
    where = f"median over parameters, batch {int(np.argmin(medians or [0])) + 1}"
    rung.number(min(medians, default=0.0), middle.limit, "median relative L2", where)
    best = _best(batches)
    rung.tensors(_judged(best, plain), plain.limit, plain.peak, "best batch:")
    rung.compared = len(best)
    rung.details |= {
        "zero": sorted(zeros - {d.name for d in best}),
        "median_relative_l2": _median([d for found in batches for d in found]),
        "allowed": {"relative_l2": allowed.limit, "peak": allowed.peak, "1 - cosine": cosine.limit},
        "drift": {"worst": max(drift.limits, default=None), "median": _median(drift.differences)},
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
        found[probe.framework] = {"worst": worst.relative_l2, "at": worst.name, "median": _median(differences)}
    return found


def _median(differences: list[Difference]) -> float | None:
    return float(np.median([d.relative_l2 for d in differences])) if differences else None


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
    rung.details.setdefault("median_relative_l2", {})[prefix] = _median(differences)


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


def learning_rates(first: Probe, second: Probe) -> Rung:
    """The rate of every group at every step of the whole run."""
    rung, tolerance = Rung(8, "learning rates"), TOLERANCES["learning rate"]
    rung.tensors([compare("learning rate", first.train["lr"], second.train["lr"], tolerance)], 0, None)
    if rung.verdict == "pass":
        rung.where = f"{first.train['lr'].size} rates are equal"
    return rung


def training(first: Probe, second: Probe) -> tuple[Rung, dict[str, Any] | None]:
    """The first steps of training; also returns the trajectory for the figure.

    At the anchors both frameworks take a step of the trajectory from the same weights, the first one's: there losses
    have to agree. The free runs are chaotic: the first framework's own shadow, started from weights whose last bits
    were changed, leaves it too. They may differ by the base tolerance, or a few times the largest difference that the
    shadow has shown by then (or shows a few steps later, because when it breaks out is chance).
    """
    rung, base = Rung(9, "training trajectory"), TOLERANCES["trajectory"].limit
    sides = [probe.about.get("trajectory") for probe in (first, second)]
    if not all(sides):
        return rung.skip("no trajectory was asked for"), None
    anchors = _anchors(rung, first, second, sides[0]["total"])
    totals = [side["total"] for side in sides]
    if len(totals[0]) != len(totals[1]):
        rung.problem(f"{len(totals[0])} steps and {len(totals[1])}")
    differences = [relative(a, b) for a, b in zip(*totals, strict=False)]
    shadow = [relative(a, b) for a, b in zip(totals[0], first.about.get("shadow", {}).get("total", []), strict=False)]
    factor, slack = TOLERANCES["shadow"].limit, int(TOLERANCES["shadow slack"].limit)
    limits = [max([base, *(factor * s for s in shadow[: t + 1 + slack])]) for t in range(len(differences))]
    for step, (value, limit) in enumerate(zip(differences, limits, strict=True), start=1):
        a, b = totals[0][step - 1], totals[1][step - 1]
        rung.number(value, limit, "relative", f"step {step} of {len(differences)}: loss {a:.8g} and {b:.8g}")
    means = [float(np.mean(total)) for total in totals]
    rung.details |= {
        "median": float(np.median(differences)),
        "shadow_median": float(np.median(shadow)) if shadow else None,
        "steps_below_base": _leading(differences, base),
        "shadow_steps_below_base": _leading(shadow, base) if shadow else None,
        "mean_loss": dict(zip((first.framework, second.framework), means, strict=True)),
    }
    totals_by_name = {probe.framework: total for probe, total in zip((first, second), totals, strict=True)}
    trajectory = {"relative_difference": differences, "shadow": shadow, "limits": limits, "limit": base}
    return rung, trajectory | {"total": totals_by_name, "anchors": anchors}


def _anchors(rung: Rung, first: Probe, second: Probe, totals: list[float]) -> dict[str, list[float]]:
    """Judge the steps that both frameworks took from the same weights; returns the curves for the figure.

    Gradient norms as gradients are: what one unit's kink does at one step may be five times what it does to the first
    framework at any step; the median over steps, which one kink does not move, has to be as good as its own median.
    """
    if first.anchors is None or second.anchors is None:
        rung.problem("steps from the same weights: missing")
        return {"steps": [], "relative_difference": [], "gradient": []}
    found: dict[str, list[float]] = {"steps": [], "relative_difference": [], "gradient": []}
    tolerance, own = TOLERANCES["anchor"], first.nudged_anchors
    drift = [
        compare(name, first.anchors[name], own[name], TOLERANCES["step"]).relative_l2
        for name in (own or ())
        if name.endswith("/norms")
    ]
    limit, usual = TOLERANCES["step"].widened(drift), TOLERANCES["step"].widened([np.median(drift)] if drift else [])
    for step in sorted({int(name.partition("/")[0]) for name in first.anchors}):
        names = {name: key for name, key in first.anchors.under(f"{step}/").items() if name != "norms"}
        for name, key in names.items():
            a, b = float(first.anchors[key]), float(second.anchors[key]) if key in second.anchors else float("nan")
            where = f"step {step} from the same weights: {name} {a:.8g} and {b:.8g}"
            rung.number(relative(a, b), tolerance.limit, "relative", where)
        total, norms = f"{step}/total", f"{step}/norms"
        if relative(totals[step - 1], float(first.anchors[total])) > tolerance.limit:
            rung.problem(f"step {step}: {first.framework} does not repeat its own loss from the weights it had")
        gradient = compare(f"step {step}: gradient norms", first.anchors[norms], second.anchors[norms], limit)
        rung.tensors([gradient], limit.limit, None, "from the same weights,")
        found["steps"].append(step)
        found["relative_difference"].append(relative(float(first.anchors[total]), float(second.anchors[total])))
        found["gradient"].append(gradient.relative_l2)
    if found["gradient"]:
        rung.number(
            np.median(found["gradient"]), usual.limit, "relative L2", "from the same weights, median over steps"
        )
    rung.details["anchors"] = (
        {key: max(found[key]) for key in ("relative_difference", "gradient")} if found["steps"] else {}
    )
    return found


def _leading(values: list[float], limit: float) -> int:
    """How many values stay below `limit` before the first one that does not."""
    return next((i for i, value in enumerate(values) if value > limit), len(values))


def same_weights(first: Probe, second: Probe) -> Rung:
    """AP of both frameworks with the weights at the end of the first one's trajectory."""
    rung, limit = Rung(10, "AP with the same weights"), TOLERANCES["AP"].limit
    sides = [probe.about.get("evaluation") for probe in (first, second)]
    if not all(sides):
        return rung.skip("no trajectory was asked for, so there are no weights to evaluate")
    if sides[0]["weights_sha256"] != sides[1]["weights_sha256"]:
        rung.problem("the two frameworks evaluated different weights")
    for name in ("AP", "AP50"):
        a, b = (side["metrics"][name] for side in sides)
        if a is None or b is None:
            rung.problem(f"{name}: not defined") if a != b else None
            continue
        rung.number(abs(b - a), limit, "absolute", f"{name} {a:.5f} and {b:.5f} on {sides[0]['images']} images")
    rung.details["metrics"] = {p.framework: side["metrics"] for p, side in zip((first, second), sides, strict=True)}
    return rung
