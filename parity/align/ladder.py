"""The ladder: rungs 0 to 10, each comparing two frameworks from the same file inputs.

A rung that fails explains those above it: training is not worth comparing where one layer differs.
"""

from typing import Any

from parity.align.files import Probe
from parity.align.precision import precision, told
from parity.align.result import ALONE, FAIL, INCOMPLETE, PASS, Rung, coverage, finite
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


def climb(first: Probe, second: Probe | None = None, trained: bool = True) -> dict[str, Any]:
    """Judge two probes; the first is the reference. Returns what alignment.json holds.

    Without `trained` the ladder ends with rung 8, before anything is trained.

    verdict is "fail" if a rung fails, else "incomplete" if a rung is, else "pass". With one probe only it is "not
    compared": nothing can be compared between frameworks, and only the loading of weights is checked. `precision` has a
    verdict of its own: a framework that is less precise computes the same, so that the gate stays open.
    """
    divergence, layers, trajectory, distances = None, [], None, None
    if not trained:
        first, second = first.untrained(), second and second.untrained()
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
        if trained:
            rung, trajectory = training.training(first, second)
            rungs += [rung, same_weights.same_weights(first, second)]
        distances = precision(first, second)
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
        "precision": distances,
        "tolerances": {name: {"limit": t.limit, "peak": t.peak, "reason": t.reason} for name, t in TOLERANCES.items()},
    }
    return finite(found)


def summary(alignment: dict[str, Any]) -> list[str]:
    """One line per rung for a terminal, and the verdict."""
    lines = []
    for rung in alignment["rungs"]:
        number = ""
        if rung["worst"] is not None:
            number = f"{rung['worst']:.2e} of {rung['tolerance']:.0e} ({rung['measure']}), "
        count = f"{coverage(rung)} compared; " if rung["compared"] else ""
        lines.append(f"{rung['rung']:>2} {rung['verdict']:<12} {rung['name']}: {count}{number}{rung['where']}")
    lines += told(alignment["precision"]) if alignment.get("precision") else []
    names = " and ".join(alignment["frameworks"])
    lines.append(f"alignment of {alignment['model']} {alignment['variant']}, {names}: {alignment['verdict']}")
    return lines


def postponed(alignment: dict[str, Any]) -> bool:
    """Whether only one thing is missing: an AP that is high enough to compare. Only the training can give it.

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


def imprecise(alignment: dict[str, Any]) -> list[str]:
    """In words, where a framework is too far from float64, or where that was not compared. Empty otherwise."""
    found = alignment.get("precision") or {}
    words = {FAIL: "too far", INCOMPLETE: "incomplete"}
    return [f"distance from float64, {words[v]}: {found['where']}" for v in [found.get("verdict")] if v in words]
