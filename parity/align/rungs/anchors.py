"""Part of rung 9: steps of the training that both frameworks take from the same states, the first one's.

The free runs are chaotic; these steps are not. At each anchor losses, gradients and the updates taken are compared.
Gradients and updates are compared as sketches (see `parity.align.sketch`): a sketch shows a wrong sign, a norm does
not.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from parity.align.compare import relative
from parity.align.files import Probe, steps_of
from parity.align.result import Rung
from parity.align.rungs.steps import ROUNDING
from parity.align.tolerances import TOLERANCES

# Relative differences: of the loss, the median ones of gradients and updates, and signed those of the loss and of the
# way along the first framework's gradient.
CURVES = ("steps", "relative_difference", "gradient", "update", "loss", "along")
CURVE_OF = {"grad": "gradient", "update": "update"}
CONFIDENCE = 0.95
ENOUGH = 3  # anchors of one parameter or loss from which its median leaves out what happens at one of them


def judge(rung: Rung, first: Probe, second: Probe, totals: list[float]) -> dict[str, list[float]]:
    """Judge the anchors; returns CURVES, one value for each step that both frameworks took.

    As with gradients the median over the anchors decides, parameter by parameter, by the base tolerance or a few times
    what rounding does at that parameter: one unit's kink at one step is no mistake. A gradient that is zero on paper at
    most anchors has too few values for a median to leave a kink out. It is held against the largest drift of any
    parameter at the same anchors. Where the kink is the first framework's own, its run with other last bits stands
    beside the second framework; the nearer of the two runs is what the second one is compared with. A float32 keeps an
    update to one rounding of the parameter; that is added, as in rung 7: at the small rates of fine-tuning it is some
    percent of the update. Elements whose gradients have been nothing but rounding so far are left out of updates (see
    `parity.align.trajectory.settled`). Losses have no kinks that jump, so every one of them counts. Last, the
    frameworks must not lean to one side: the signed mean differences are told.
    """
    found: dict[str, list[float]] = {key: [] for key in CURVES}
    if first.anchors is None or second.anchors is None:
        rung.problem("steps from the same state: missing")
        return found
    steps = steps_of(first.anchors)
    shared = [step for step in steps if f"{step}/total" in second.anchors]
    rung.count("anchors", len(steps), len(shared))
    for step in sorted(set(steps) ^ set(steps_of(second.anchors))):
        rung.problem(f"step {step} from the same state: only one framework took it")
    for step in shared:
        if relative(totals[step - 1], float(first.anchors[f"{step}/total"])) > TOLERANCES["repeat"].limit:
            rung.problem(f"step {step}: {first.framework} does not repeat its own loss from the weights it had")
    _losses(rung, first, second, shared)
    own = first.nudged_anchors
    floors = {step: _floor(first.anchors, step) for step in shared}
    for kind, quantity in (("grad", "anchor gradient"), ("update", "anchor update")):
        differences = sketches(first.anchors, second.anchors, shared, kind, own)
        drift = sketches(first.anchors, own, shared, kind) if own is not None else {}
        expected = {n for p in (first, second) for step in shared for n in p.anchors.under(f"{step}/{kind}/")}
        zero = {name for name in expected if name not in differences}
        for name in sorted(zero):
            if any((f"{s}/{kind}/{name}" in first.anchors) != (f"{s}/{kind}/{name}" in second.anchors) for s in shared):
                rung.problem(f"from the same state: {name} has a {kind} in one framework only")
        rung.count(f"{kind}s at the anchors", len(expected), len(differences) + len(zero))
        worst = {step: _largest(first.anchors, own, step, kind) for step in shared} if own is not None else {}
        for name, values in differences.items():
            if len(values) >= ENOUGH:
                moved = [float(np.median(drift[name]))] if name in drift else []
                where = f"{kind} of {name}, median over the anchors"
            else:
                sizes = {step: np.linalg.norm(first.anchors.get(f"{step}/grad/{name}", 0.0)) for step in worst}
                moved = [worst[step] for step, size in sizes.items() if size > floors[step]]
                where = f"{kind} of {name}, median over {len(values)} of {len(shared)} anchors"
            limit = TOLERANCES[quantity].widened(moved).limit
            limit += _rounding(first.anchors, shared, name) if kind == "update" else 0.0
            rung.number(float(np.median(values)), limit, "relative L2", where)
        for step in shared:
            at = sketches(first.anchors, second.anchors, [step], kind, own)
            found[CURVE_OF[kind]].append(float(np.median([v[0] for v in at.values()])) if at else 0.0)
    found["steps"] = shared
    found["relative_difference"] = [
        relative(*(float(probe.anchors[f"{step}/total"]) for probe in (first, second))) for step in shared
    ]
    left = [float(first.anchors[f"{step}/left_out"]) for step in shared if f"{step}/left_out" in first.anchors]
    most, share = TOLERANCES["left out"].limit, float(np.median(left)) if left else 0.0
    rung.details["updates_left_out"] = share
    if share > most:
        rung.incomplete(f"{share:.1%} of the elements of updates are left out, {most:.0%} are expected at most")
    rung.details["anchors"] = (
        {key: max(found[key]) for key in ("relative_difference", "gradient")} if found["steps"] else {}
    )
    found["loss"] = [_signed(first.anchors, second.anchors, step) for step in shared]
    found["along"] = [_along(first.anchors, second.anchors, step) for step in shared]
    rung.details["lean"] = leans = {
        "loss": lean(found["loss"]),
        "update along the gradient": lean(found["along"]),
    }
    for name, value in leans.items():
        if value and not value["low"] <= 0 <= value["high"]:
            where = f"the frameworks lean to one side: {name} {value['mean']:+.1e} on average over the anchors"
            rung.number(abs(value["mean"]), TOLERANCES["lean"].limit, "signed mean", where)
    return found


def _losses(rung: Rung, first: Probe, second: Probe, steps: list[int]) -> None:
    """Judge every component by its own drift: what is nearly zero drifts further than the rest, as a share of itself.

    Pooled, such a component would be held to the others' drift, and would lend them its own. The median over the
    anchors has a limit of a few roundings, which a loss at one anchor may exceed; so it counts from ENOUGH anchors on.
    """
    names = {
        n
        for p in (first, second)
        for s in steps
        for n in p.anchors.under(f"{s}/")
        if n.split("/")[0] in ("total", "loss")
    }
    for name in sorted(names):
        drift, values = loss_drift(first, steps, name), []
        limit = TOLERANCES["anchor"].widened(drift).limit
        usual = TOLERANCES["anchor median"].widened([float(np.median(drift))] if drift else ()).limit
        for step in steps:
            sides = [probe.anchors.get(f"{step}/{name}") for probe in (first, second)]
            rung.count("losses at the anchors", 1, all(side is not None for side in sides))
            if any(side is None for side in sides):
                rung.problem(f"step {step} from the same state: only one framework computes {name}")
                continue
            a, b = map(float, sides)
            values.append(relative(a, b))
            where = f"step {step} from the same state: {name} {a:.8g} and {b:.8g}"
            rung.number(values[-1], limit, "relative", where)
        if len(values) >= ENOUGH:
            rung.number(float(np.median(values)), usual, "relative", f"{name}, median over the anchors")


def loss_drift(first: Probe, steps: list[int], name: str) -> list[float]:
    """How far rounding alone moves one loss of the first framework at these anchors; what is not finite is left out."""
    if first.nudged_anchors is None:
        return []
    own, again = first.anchors, first.nudged_anchors
    keys = [f"{step}/{name}" for step in steps]
    moved = [relative(float(own[key]), float(again[key])) for key in keys if key in own and key in again]
    return [value for value in moved if np.isfinite(value)]


def _floor(arrays: Mapping[str, np.ndarray], step: int) -> float:
    """Norm of a gradient's sketch up to which it is zero on paper."""
    norms = [float(np.linalg.norm(arrays[key])) for key in arrays.under(f"{step}/grad/").values()]
    return TOLERANCES["zero gradient"].limit * max(norms, default=0.0)


def _rounding(arrays: Mapping[str, np.ndarray], steps: list[int], name: str) -> float:
    """Rounding of a parameter, relative to its update: the median over the anchors."""
    sizes = {step: float(np.linalg.norm(arrays.get(f"{step}/update/{name}", 0.0))) for step in steps}
    moved = [ROUNDING * float(arrays.get(f"{step}/weight/{name}", 0.0)) / size for step, size in sizes.items() if size]
    return float(np.median(moved)) if moved else 0.0


def _largest(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], step: int, kind: str) -> float:
    """The largest difference of any parameter at one anchor."""
    return max((values[0] for values in sketches(first, second, [step], kind).values()), default=0.0)


def sketches(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    steps: list[int],
    kind: str,
    again: Mapping[str, np.ndarray] | None = None,
) -> dict[str, list[float]]:
    """Relative differences of the sketches, by parameter. What is zero on paper in both is left out.

    With `again`, another run of the first side, the difference from the nearer run counts.
    """
    found: dict[str, list[float]] = {}
    for step in steps:
        names = first.under(f"{step}/grad/")
        norms, floor = {name: float(np.linalg.norm(first[key])) for name, key in names.items()}, _floor(first, step)
        for name, size in norms.items():
            key = f"{step}/{kind}/{name}"
            if size <= floor or key not in second:
                continue
            if kind == "update" and first.get(f"{step}/settled/{name}", 1) == 0:
                continue
            runs = [first[key], *([again[key]] if again is not None and key in again else [])]
            apart = [_apart(run, second[key]) for run in runs if run.shape == second[key].shape]
            if apart:
                found.setdefault(name, []).append(min(apart))
    return found


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    difference, whole = float(np.linalg.norm(b - a)), float(np.linalg.norm(a))
    return 0.0 if difference == 0 else difference / whole if whole else np.inf


def lean(values: list[float]) -> dict[str, Any] | None:
    """Mean of signed relative differences with its interval; None for fewer than three."""
    if len(values) < 3:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": len(values)}


def _signed(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], step: int) -> float:
    a, b = float(first[f"{step}/total"]), float(second[f"{step}/total"])
    return (b - a) / a if a else 0.0


def _along(first: Any, second: Mapping[str, np.ndarray], step: int) -> float:
    """How much further the second framework goes along the first one's gradient, relative to the first."""
    length = more = 0.0
    for name, key in first.under(f"{step}/grad/").items():
        update = f"{step}/update/{name}"
        if update in second and second[update].shape == first[update].shape:
            length += float(first[key] @ first[update])
            more += float(first[key] @ (second[update] - first[update]))
    return more / length if length else 0.0
