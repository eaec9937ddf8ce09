"""The ladder: rungs 0 to 10, each comparing two frameworks from the same file inputs.

A rung that fails explains those above it: training is not worth comparing where one layer differs.
"""

import math
from typing import Any

from parity.align.files import Probe
from parity.align.result import ALONE, FAIL, INCOMPLETE, PASS, Rung, coverage
from parity.align.rungs import (
    configuration,
    forward,
    gradients,
    learning_rates,
    losses,
    postprocessing,
    preprocessing,
    same_weights,
    steps,
    training,
    weights,
)
from parity.align.tolerances import TOLERANCES

NAMES = (
    "configuration",
    "preprocessing",
    "weights",
    "forward, layer by layer",
    "post-processing",
    "losses and matches",
    "gradients",
    "optimiser steps",
    "learning rates",
    "training trajectory",
    "AP with the same weights",
)


def climb(first: Probe, second: Probe | None = None) -> dict[str, Any]:
    """Judge two probes; the first is the reference. Returns what alignment.json holds.

    verdict is "fail" if a rung fails, else "incomplete" if a rung is, else "pass". With one probe only it is "not
    compared": nothing can be compared between frameworks, and only the loading of weights is checked.
    """
    divergence, layers, trajectory = None, [], None
    if second is None:
        reason = f"only {first.framework} takes part: there is nothing to compare it with"
        rungs = [Rung(i, name).not_compared(reason) for i, name in enumerate(NAMES)]
        rungs[2] = weights.loading(first)
    else:
        rungs = [
            configuration.configuration(first, second),
            preprocessing.preprocessing(first, second),
            weights.loading(first, second),
        ]
        rung, divergence, layers = forward.forward(first, second)
        rungs += [
            rung,
            postprocessing.detections(first, second),
            losses.losses(first, second),
            gradients.gradients(first, second),
            steps.steps(first, second),
            learning_rates.learning_rates(first, second),
        ]
        rung, trajectory = training.training(first, second)
        rungs += [rung, same_weights.same_weights(first, second)]
    verdicts = {rung.verdict for rung in rungs}
    verdict = next(word for word in (FAIL, INCOMPLETE, ALONE, PASS) if word in verdicts)
    sides = [probe for probe in (first, second) if probe is not None]
    found = {
        "model": first.about["model"],
        "variant": first.about["variant"],
        "frameworks": [probe.framework for probe in sides],
        "versions": {probe.framework: probe.about["versions"] for probe in sides},
        "settings": first.about["settings"],
        "verdict": verdict,
        "passed": verdict == PASS,
        "rungs": [rung.record() for rung in rungs],
        "first_divergence": divergence,
        "layers": layers,
        "trajectory": trajectory,
        "tolerances": {name: {"limit": t.limit, "peak": t.peak, "reason": t.reason} for name, t in TOLERANCES.items()},
    }
    return _finite(found)


def _finite(value: Any) -> Any:
    """With None in the place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(alignment: dict[str, Any]) -> list[str]:
    """One line per rung for a terminal, and the verdict."""
    lines = []
    for rung in alignment["rungs"]:
        number = ""
        if rung["worst"] is not None:
            number = f"{rung['worst']:.2e} of {rung['tolerance']:.0e} ({rung['measure']}), "
        count = f"{coverage(rung)} compared; " if rung["compared"] else ""
        lines.append(f"{rung['rung']:>2} {rung['verdict']:<12} {rung['name']}: {count}{number}{rung['where']}")
    lines += distances(alignment)
    names = " and ".join(alignment["frameworks"])
    lines.append(f"alignment of {alignment['model']} {alignment['variant']}, {names}: {alignment['verdict']}")
    return lines


def distances(alignment: dict[str, Any]) -> list[str]:
    """How far both frameworks are from float64, and the ratio of the second to the first; one line per quantity."""
    lines = []
    details = {
        rung["rung"]: rung["details"].get("against_float64") or {} for rung in alignment["rungs"] if "details" in rung
    }
    outputs = {side: max(found.values(), default=None) for side, found in details.get(3, {}).items()}
    gradients = {side: found["median"] for side, found in details.get(6, {}).items()}
    for what, sides in (("raw outputs", outputs), ("gradients, median", gradients)):
        if len(sides) == 2 and all(sides.values()):
            (one, a), (two, b) = sides.items()
            lines.append(f"   distance from float64, {what}: {one} {a:.1e}, {two} {b:.1e}, {b / a:.2g} times")
    return lines


def postponed(alignment: dict[str, Any]) -> bool:
    """Whether all that is missing is an AP worth comparing, which only the training itself can give.

    A model that learns slowly detects hardly anything after the ladder's short trajectory. Rung 10 compared it, both
    frameworks agree, and the report repeats the rung with the final weights of every run.
    """
    open_rungs = [rung for rung in alignment["rungs"] if rung["verdict"] in (FAIL, INCOMPLETE)]
    return [rung["rung"] for rung in open_rungs] == [10] and (
        open_rungs[0]["verdict"] == INCOMPLETE and "detects_too_little" in open_rungs[0].get("details", {})
    )


def failures(alignment: dict[str, Any]) -> list[str]:
    """The failed and the incomplete rungs, in words, with the place. Empty where training may start."""
    words = {FAIL: "fails", INCOMPLETE: "is incomplete"}
    found = sorted((r for r in alignment["rungs"] if r["verdict"] in words), key=lambda r: r["verdict"] == INCOMPLETE)
    return [f"rung {r['rung']} ({r['name']}) {words[r['verdict']]}: {r['where']}" for r in found]
