"""Rung 10: AP of both frameworks with the same weights."""

from typing import Any

from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES

METRICS = ("AP", "AP50")


def same_weights(first: Probe, second: Probe) -> Rung:
    """AP of both frameworks with the weights at the end of the first one's trajectory."""
    rung = Rung(10, "AP with the same weights")
    sides = [probe.about.get("evaluation") for probe in (first, second)]
    if not all(sides):
        return rung.incomplete("no trajectory was asked for, so there are no weights to evaluate")
    if sides[0]["weights_sha256"] != sides[1]["weights_sha256"]:
        rung.problem("the two frameworks evaluated different weights")
    judge(rung, *(side["metrics"] for side in sides), f"on {sides[0]['images']} images")
    rung.count("images", *(side["images"] for side in sides))
    rung.details["metrics"] = {p.framework: side["metrics"] for p, side in zip((first, second), sides, strict=True)}
    return rung


def judge(rung: Rung, first: dict[str, Any], second: dict[str, Any], where: str) -> None:
    """Compare two sets of metrics (0 to 1) of the same weights.

    Weights that detect hardly anything show nothing: where AP50 is low in both, the rung is incomplete.
    """
    limit, least = TOLERANCES["AP"].limit, TOLERANCES["least AP50"].limit
    for name in METRICS:
        a, b = first.get(name), second.get(name)
        rung.count("metrics", 1, a is not None and b is not None)
        if a is None or b is None:
            rung.problem(f"{name}: not defined in one framework only") if a != b else None
            continue
        rung.number(abs(b - a), limit, "absolute", f"{name} {a:.5f} and {b:.5f} {where}")
    best = max(side.get("AP50") or 0.0 for side in (first, second))
    if best < least:
        rung.details["detects_too_little"] = best
        rung.incomplete(f"AP50 is {best:.3f} {where}: weights that detect hardly anything do not test the frameworks")
