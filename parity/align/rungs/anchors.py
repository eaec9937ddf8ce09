"""Part of rung 9: steps of the training that both frameworks take from the same states, the first one's.

The free runs are chaotic; these steps are not. At each anchor losses, gradients and the updates taken are compared.
Gradients and updates are compared as sketches (see `parity.align.sketch`): a sketch shows a wrong sign, a norm does
not.
"""

from collections.abc import Mapping, Sequence
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

    As with gradients the anchor in the middle decides, parameter by parameter: one unit's kink at one step is no
    mistake. An anchor's limit is the base tolerance or a few times what rounding does *there* to that parameter, in the
    worst of three runs with other last bits: early in a training kinks are many, later there are few. A gradient that
    is zero on paper at most anchors has too few values for a middle to leave a kink out. It is held against the
    largest drift of any parameter at the same anchors. Where the kink is the first framework's own, its runs with other
    last bits stand beside the second framework; the nearest of all its runs is what the second one is compared with.
    A float32 keeps an update to one rounding of the parameter; that is added, as in rung 7: at the small rates of
    fine-tuning it is some percent of the update. Elements whose gradients have been nothing but rounding so far are
    left out of updates (see `parity.align.trajectory.settled`). Losses have no kinks that jump, so every one of them
    counts. Last, the frameworks must not lean to one side: the signed mean differences are told.
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
        drift = [sketches(first.anchors, again, shared, kind) for again in own]
        expected = {n for p in (first, second) for step in shared for n in p.anchors.under(f"{step}/{kind}/")}
        zero = {name for name in expected if name not in differences}
        for name in sorted(zero):
            if any((f"{s}/{kind}/{name}" in first.anchors) != (f"{s}/{kind}/{name}" in second.anchors) for s in shared):
                rung.problem(f"from the same state: {name} has a {kind} in one framework only")
        rung.count(f"{kind}s at the anchors", len(expected), len(differences) + len(zero))
        worst = {step: max(_largest(first.anchors, again, step, kind) for again in own) for step in shared if own}
        for name, values in differences.items():
            rounding = _rounding(first.anchors, shared, name) if kind == "update" else 0.0
            if len(values) >= ENOUGH:
                where = f"{kind} of {name}, median over the anchors"
                moved = {step: [run[name][step] for run in drift if step in run.get(name, {})] for step in values}
            else:
                sizes = {step: np.linalg.norm(first.anchors.get(f"{step}/grad/{name}", 0.0)) for step in worst}
                largest = [worst[step] for step, size in sizes.items() if size > floors[step]]
                where = f"{kind} of {name}, median over {len(values)} of {len(shared)} anchors"
                moved = dict.fromkeys(values, largest)
            limits = {step: TOLERANCES[quantity].widened(moved[step]).limit + rounding for step in values}
            rung.number(*middle(values, limits), "relative L2", where)
        for step in shared:
            at = [values[step] for values in differences.values() if step in values]
            found[CURVE_OF[kind]].append(float(np.median(at)) if at else 0.0)
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
        limit = TOLERANCES["anchor"].widened(value for run in drift for value in run).limit
        usual = TOLERANCES["anchor median"].widened(float(np.median(run)) for run in drift).limit
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


def loss_drift(first: Probe, steps: list[int], name: str) -> list[list[float]]:
    """How far rounding alone moves one loss of the first framework at these anchors, run by run with other last bits.

    What is not finite is left out, and so is a run that has nothing else.
    """
    own, keys, found = first.anchors, [f"{step}/{name}" for step in steps], []
    for again in first.nudged_anchors:
        moved = [relative(float(own[key]), float(again[key])) for key in keys if key in own and key in again]
        found.append([value for value in moved if np.isfinite(value)])
    return [run for run in found if run]


def _floor(arrays: Mapping[str, np.ndarray], step: int) -> float:
    """Norm of a gradient's sketch up to which it is zero on paper."""
    norms = [float(np.linalg.norm(arrays[key])) for key in arrays.under(f"{step}/grad/").values()]
    return TOLERANCES["zero gradient"].limit * max(norms, default=0.0)


def _rounding(arrays: Mapping[str, np.ndarray], steps: list[int], name: str) -> float:
    """Rounding of a parameter, relative to its update: the median over the anchors."""
    sizes = {step: float(np.linalg.norm(arrays.get(f"{step}/update/{name}", 0.0))) for step in steps}
    moved = [ROUNDING * float(arrays.get(f"{step}/weight/{name}", 0.0)) / size for step, size in sizes.items() if size]
    return float(np.median(moved)) if moved else 0.0


def middle(values: Mapping[int, float], limits: Mapping[int, float]) -> tuple[float, float]:
    """Value and limit of the anchor in the middle, in units of its limit; of an even number the worse one."""
    pairs = sorted(((values[step], limits[step]) for step in values), key=lambda pair: pair[0] / pair[1])
    return pairs[len(pairs) // 2]


def _largest(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], step: int, kind: str) -> float:
    """The largest difference of any parameter at one anchor."""
    return max((values[step] for values in sketches(first, second, [step], kind).values()), default=0.0)


def sketches(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    steps: list[int],
    kind: str,
    again: Sequence[Mapping[str, np.ndarray]] = (),
) -> dict[str, dict[int, float]]:
    """Relative differences of the sketches, by parameter and step. What is zero on paper in both is left out.

    With `again`, more runs of the first side, the difference from the nearest run counts.
    """
    found: dict[str, dict[int, float]] = {}
    for step in steps:
        names = first.under(f"{step}/grad/")
        norms, floor = {name: float(np.linalg.norm(first[key])) for name, key in names.items()}, _floor(first, step)
        for name, size in norms.items():
            key = f"{step}/{kind}/{name}"
            if size <= floor or key not in second:
                continue
            if kind == "update" and first.get(f"{step}/settled/{name}", 1) == 0:
                continue
            runs = [first[key], *(run[key] for run in again if key in run)]
            apart = [_apart(run, second[key]) for run in runs if run.shape == second[key].shape]
            if apart:
                found.setdefault(name, {})[step] = min(apart)
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
