"""States of a training that are kept: weights and moments before some optimiser steps, spread over the whole run.

Both frameworks take these steps again after the training (`parity.align.whole_run`). While the run lasts, every state
is a file in `checkpoints/states/`, so that a run that is killed loses none. At the end they become one file,
states.npz, with `<step>/state/<name>` and `<step>/moments/<name>`; it is empty where none were asked for.
"""

import shutil
from pathlib import Path

import numpy as np

from parity.arrays import growing
from parity.framework import Framework
from parity.weights import formats

FILE = "states.npz"


def spread(total: int, count: int) -> list[int]:
    """`count` of the steps 1..total, the first and the last among them, at about equal ratios; all if there are fewer.

    Early steps change most: the warm-up of the rate and of the average. The last one is past every change.
    """
    chosen = {round(step) for step in np.geomspace(1, max(1, total), min(count, total))}
    for step in range(1, total + 1):
        if len(chosen) >= min(count, total):
            break
        chosen.add(step)
    return sorted(chosen)


def anchor_steps(total: int, count: int) -> list[int]:
    """`count` of the steps 2..total, at about equal ratios, the last among them: the steps that are taken again.

    The first step is left out, unless it is the only one. There a box head whose last layer begins as zero predicts a
    denoising box as it was given. Where that box and its target are cut at the image border, the gradient of GIoU
    depends on which side of a maximum rounding picks.
    """
    return [step + 1 for step in spread(total - 1, count)] if total > 1 else [1][:count]


class Keeper:
    """Keeps the states of the run in the folder `out` before `count` of its `total` steps."""

    def __init__(self, out: Path, framework: Framework, total: int, count: int):
        self.folder, self.file, self.framework = out / "checkpoints/states", out / FILE, framework
        self.steps = set(anchor_steps(total, count))

    def when_due(self, taken: int) -> None:
        """Called with the number of steps taken: keep the state if the next step is one of those."""
        if taken + 1 not in self.steps:
            return
        parts = {"state": self.framework.state(), "moments": self.framework.optimizer_state()}
        arrays = {
            f"{part}/{name}": np.asarray(a, order="C") for part, each in parts.items() for name, a in each.items()
        }
        formats.write(self.folder / f"{taken + 1:08d}.safetensors", arrays)

    def finish(self) -> None:
        """Put the states into one file. A finished run that is asked for again has it already."""
        if self.steps and self.file.exists() and not self.folder.exists():
            return
        with growing(self.file) as add:
            for file in sorted(self.folder.glob("*.safetensors")):
                step = int(file.stem)
                if step in self.steps:
                    add({f"{step}/{name}": array for name, array in sorted(formats.read(file).items())})

    def drop(self) -> None:
        """Remove the folder, once nothing can go on from it."""
        shutil.rmtree(self.folder, ignore_errors=True)
