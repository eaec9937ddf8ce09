"""Anchors over a whole training: steps taken again from the checkpoints that a finished run kept.

The ladder stands before the training, so its anchors end with the first hundred steps. A run that was told to keep its
checkpoints (`keep_checkpoints`, which changes no result) holds weights and moments of later ones. Each framework takes
the step after a checkpoint; `judge` compares them by the rules of rung 9. Nothing here opens or shuts the gate.

    anchors.npz         losses, sketches of gradients and updates, as `trajectory.from_anchors` records them
    nudged_anchors.npz  the same after the last bit of every weight was changed; only if asked for
    anchors.json        which framework, and which steps of how many
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from parity.align.files import Arrays, save_arrays
from parity.align.probe import learning_rates
from parity.align.result import Rung
from parity.align.rungs import anchors
from parity.align.steps import State, last_bits
from parity.align.trajectory import from_anchors
from parity.config.run import load_run
from parity.errors import UserError
from parity.files import read_json, write_json
from parity.framework import Framework
from parity.train import checkpoint, loaders
from parity.train.given import framework_of
from parity.train.record import read_metrics

COUNT = 5  # anchors, at about equal ratios of their steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The run's resolved configuration, for this framework.")
    parser.add_argument("--run", required=True, help="Folder of the finished run, whose checkpoints are the states.")
    parser.add_argument("--out", required=True, help="Folder to write.")
    parser.add_argument("--count", type=int, default=COUNT, help="Steps to take, 5 by default.")
    parser.add_argument("--nudge", action="store_true", help="Take them again with the last bit of weights changed.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Take the steps. anchors.json is written last. Raises UserError where the run kept no usable state."""
    settings, out = load_run(args.config), Path(args.out)
    framework = framework_of(settings, framework_class, args.config)
    data = loaders.train_loader(settings)
    factors = learning_rates(settings, data)
    kept = Kept(Path(args.run), len(factors), args.count)
    framework.seed(settings.seed)
    save_arrays(out / "anchors.npz", from_anchors(framework, settings, data, factors, kept))
    if args.nudge:
        nudged = from_anchors(framework, settings, data, factors, kept, last_bits(settings.seed))
        save_arrays(out / "nudged_anchors.npz", nudged)
    about = {"framework": framework.name, "versions": framework.versions(), "steps": kept.steps, "of": len(factors)}
    write_json(out / "anchors.json", about)


class Kept:
    """The states before some steps of a run, read from its checkpoints one by one; in the form of anchor_states.npz.

    A checkpoint after step n is the state before step n + 1; the one after the last step is followed by none.
    """

    def __init__(self, folder: Path, total: int, count: int):
        files = sorted((folder / "checkpoints").glob("step-*.safetensors"))
        numbered = {int(file.stem.removeprefix("step-")) + 1: file for file in files}
        self.files = {step: file for step, file in numbered.items() if step <= total}
        if not self.files:
            raise UserError(
                f"{folder}/checkpoints: holds no state that a step follows; train with a larger keep_checkpoints"
            )
        self.steps = chosen(list(self.files), count)

    def __iter__(self) -> Iterator[str]:
        return (f"{step}/state/" for step in self.steps)

    def part(self, prefix: str) -> State:
        """Arrays of `<step>/state/` or `<step>/moments/`."""
        step, kind = prefix.strip("/").split("/")
        return checkpoint.read(self.files[int(step)]).parts["model" if kind == "state" else "optimizer"]


def chosen(steps: list[int], count: int) -> list[int]:
    """At most `count` of these steps, the first and the last among them, at about equal ratios."""
    wanted = np.geomspace(steps[0], steps[-1], min(count, len(steps)))
    picked = {min(steps, key=lambda step: abs(np.log(step / value))) for value in wanted}
    for step in reversed(steps):  # two ratios may lie nearest to one step
        if len(picked) >= min(count, len(steps)):
            break
        picked.add(step)
    return sorted(picked)


def judge(first: Path, second: Path, run: Path) -> dict[str, Any]:
    """Compare two folders of `run`; the first is of the framework that trained the run in the folder `run`."""
    sides = [_side(folder) for folder in (first, second)]
    about = [side.about for side in sides]
    rung = Rung(9, "steps over the whole training")
    rung.count("steps", *(len(each["steps"]) for each in about))
    totals = {line["step"]: line["total"] for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "step"}
    lost = [step for step in about[0]["steps"] if step not in totals]
    if lost:
        raise UserError(f"{run}/metrics.jsonl: has no step {lost[0]}, expected the log of the whole run")
    own = [totals.get(step, np.nan) for step in range(1, max(totals) + 1)]
    curves = anchors.judge(rung, *sides, own)
    if len(about[0]["steps"]) < anchors.ENOUGH:
        rung.incomplete(f"{len(about[0]['steps'])} steps, of which a mean says nothing; expected {anchors.ENOUGH}")
    return rung.record() | {"frameworks": [s.framework for s in sides], "of": about[0]["of"], "curves": curves}


def _side(folder: Path) -> SimpleNamespace:
    """A folder of `run` with the names that the rung reads."""
    about, nudged = read_json(folder / "anchors.json"), folder / "nudged_anchors.npz"
    again = Arrays(nudged) if nudged.exists() else None
    given = {"anchors": Arrays(folder / "anchors.npz"), "nudged_anchors": again}
    return SimpleNamespace(framework=about["framework"], about=about, **given)


def told(found: dict[str, Any]) -> list[str]:
    """The verdict in words, for a terminal."""
    lines = [f"{found['verdict']}: steps {found['curves']['steps']} of {found['of']}, {found['where']}"]
    for what, value in found["details"]["lean"].items():
        if value:
            lines.append(f"{what}: {value['mean']:+.1e} on average, 95 % {value['low']:+.1e} to {value['high']:+.1e}")
    return lines
