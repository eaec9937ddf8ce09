"""Rung 9: the first steps of the real training."""

from typing import Any

import numpy as np

from parity.align.compare import compare, relative
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


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
        return rung.incomplete("no trajectory was asked for"), None
    anchors = _anchors(rung, first, second, sides[0]["total"])
    totals = [side["total"] for side in sides]
    if len(totals[0]) != len(totals[1]):
        rung.problem(f"{len(totals[0])} steps and {len(totals[1])}")
    differences = [relative(a, b) for a, b in zip(*totals, strict=False)]
    rung.count("steps", max(map(len, totals)), len(differences))
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
        compare(name, first.anchors[name], own[name], TOLERANCES["gradient norms"]).relative_l2
        for name in (own or ())
        if name.endswith("/norms")
    ]
    limit, usual = (
        TOLERANCES["gradient norms"].widened(drift),
        TOLERANCES["gradient norms"].widened([np.median(drift)] if drift else []),
    )
    for step in sorted({int(name.partition("/")[0]) for name in first.anchors}):
        names = {name: key for name, key in first.anchors.under(f"{step}/").items() if name != "norms"}
        for name, key in names.items():
            a, b = float(first.anchors[key]), float(second.anchors[key]) if key in second.anchors else float("nan")
            where = f"step {step} from the same weights: {name} {a:.8g} and {b:.8g}"
            rung.number(relative(a, b), tolerance.limit, "relative", where)
        total, norms = f"{step}/total", f"{step}/norms"
        rung.count("anchors", 1, total in second.anchors and norms in second.anchors)
        if total not in second.anchors or norms not in second.anchors:
            rung.problem(f"step {step} from the same weights: missing in {second.framework}")
            continue
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
