"""Rung 10: AP of both frameworks with the same weights."""

from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


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
