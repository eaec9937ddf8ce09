"""Rung 9: the first steps of the real training."""

from typing import Any

import numpy as np

from parity.align.compare import relative
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.rungs import anchors
from parity.align.tolerances import TOLERANCES


def training(first: Probe, second: Probe) -> tuple[Rung, dict[str, Any] | None]:
    """The first steps of training; also returns the trajectory for the figure.

    At the anchors both frameworks take a step of the trajectory from the same weights, the first one's: there losses
    have to agree. The free runs are chaotic: the first framework's own shadow, started from weights whose last bits
    were changed, leaves it too. They may differ by the base tolerance, or a few times the largest difference that the
    shadow has shown by then. Once it has left rounding, what it shows a few steps later counts too, because when such
    a difference breaks out is chance.
    """
    rung, base = Rung(9, "training trajectory"), TOLERANCES["trajectory"].limit
    sides = [probe.about.get("trajectory") for probe in (first, second)]
    if not all(sides):
        return rung.incomplete("no trajectory was asked for"), None
    kept = anchors.judge(rung, first, second, sides[0]["total"])
    totals = [side["total"] for side in sides]
    if len(totals[0]) != len(totals[1]):
        rung.problem(f"{len(totals[0])} steps and {len(totals[1])}")
    differences = [relative(a, b) for a, b in zip(*totals, strict=False)]
    rung.count("steps", max(map(len, totals)), len(differences))
    shadow = [relative(a, b) for a, b in zip(totals[0], first.about.get("shadow", {}).get("total", []), strict=False)]
    limits = free_limits(shadow, len(differences))
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
    return rung, trajectory | {"total": totals_by_name, "anchors": kept}


def free_limits(shadow: list[float], steps: int) -> list[float]:
    """Largest relative difference of the free runs at each step."""
    base, factor, slack = (TOLERANCES[name].limit for name in ("trajectory", "shadow", "shadow slack"))
    limits = []
    for t in range(steps):
        so_far = shadow[: t + 1]
        ahead = int(slack) if max(so_far, default=0.0) > TOLERANCES["shadow at rounding"].limit else 0
        limits.append(max([base, *(factor * s for s in shadow[: t + 1 + ahead])]))
    return limits


def _leading(values: list[float], limit: float) -> int:
    """How many values stay below `limit` before the first one that does not."""
    return next((i for i, value in enumerate(values) if value > limit), len(values))
