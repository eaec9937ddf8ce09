"""Steps over a whole training, taken by two frameworks from the same states (the verb `steps`): do they agree?

The ladder comes before the training, so its anchors end with the first hundred steps. The steps here go on to the last
one. They are compared by the same rules (rung 9). The result is in the report; the gate does not wait for it.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from parity.align.files import NUDGED_ANCHORS, Arrays
from parity.align.result import Rung, finite
from parity.align.rungs import anchors
from parity.files import read_json
from parity.train.record import read_metrics

NAME = "steps over the whole training"


def judge(first: Path, second: Path, run: Path) -> dict[str, Any]:
    """Compare two folders of the verb; the first is of the framework that trained the run in the folder `run`.

    Returns the record of a rung, with `frameworks`, `of` (steps of the run) and `curves`, one entry per step. The rung
    is incomplete where the run kept fewer states than were asked for, or too few for a mean to say anything.
    """
    sides = [_side(folder) for folder in (first, second)]
    rung, (own, other) = Rung(9, NAME), (side.about for side in sides)
    rung.count("states", own["asked"], len(own["steps"]))
    rung.count("steps", len(own["steps"]), len(set(own["steps"]) & set(other["steps"])))
    logged = {line["step"]: line["total"] for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "step"}
    for step in (step for step in own["steps"] if step not in logged):
        rung.problem(f"step {step}: is not in {run}/metrics.jsonl, the log of the training that kept its state")
    totals = [logged.get(step, np.nan) for step in range(1, own["of"] + 1)]
    curves = anchors.judge(rung, *sides, totals)
    if len(own["steps"]) < min(own["asked"], anchors.ENOUGH):
        rung.incomplete(f"{len(own['steps'])} of {own['asked']} states: the training kept no more (keep_states)")
    elif own["asked"] < anchors.ENOUGH:
        rung.incomplete(f"{own['asked']} steps, of which a mean says nothing; at least {anchors.ENOUGH} are needed")
    found = rung.record() | {"frameworks": [side.framework for side in sides], "of": own["of"], "curves": curves}
    return finite(found)


def _side(folder: Path) -> SimpleNamespace:
    """A folder of the verb with the names that the rung reads."""
    about, nudged = read_json(folder / "steps.json"), [Arrays(folder / f"{name}.npz") for name in NUDGED_ANCHORS]
    given = {"anchors": Arrays(folder / "anchors.npz"), "nudged_anchors": [arrays for arrays in nudged if arrays]}
    return SimpleNamespace(framework=about["framework"], about=about, **given)


def told(found: dict[str, Any]) -> list[str]:
    """The verdict in words, for a terminal."""
    steps = ", ".join(map(str, found["curves"]["steps"])) or "none"
    lines = [f"{NAME}: {found['verdict']}; steps {steps} of {found['of']}; {found['where']}"]
    for what, value in found["details"]["lean"].items():
        if value:
            interval = f"95 % {value['low']:+.1e} to {value['high']:+.1e}"
            lines.append(f"  {what}: {value['mean']:+.1e} on average, {interval}")
    return lines
