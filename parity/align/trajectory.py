"""The first steps of the real training, for rungs 9 and 10: as they run, and again from states kept on the way."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from parity.align.files import Arrays
from parity.align.steps import State
from parity.align.trace import norm
from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.framework import Framework, StepResult
from parity.train import engine
from parity.train.prepare import prepare_training
from parity.train.progress import Progress
from parity.train.record import Line, MetricsLog, read_metrics

ANCHORS = 10  # states of the first framework, evenly spread over the trajectory, that every framework goes on from


def anchor_steps(steps: int) -> list[int]:
    """The optimiser steps (counted from 1) before which the weights are kept; the last step is one of them.

    The first step is none, unless it is the only one: a box head whose last layer begins as zero predicts a denoising
    box as it was given, and where that is cut at the image border like its target, the gradient of GIoU there is
    whichever side of a maximum rounding picks. Its loss is compared by the free runs, gradients at shaken weights by
    rung 6.
    """
    return sorted({round(step) for step in np.linspace(min(2, steps), steps, min(ANCHORS, steps))})


class Keeper:
    """Stands before a framework and keeps its weights before some optimiser steps; all else is the framework's."""

    def __init__(self, framework: Framework, steps: Iterable[int], accumulate: int):
        self.framework, self.steps, self.accumulate = framework, set(steps), accumulate
        self.passes, self.kept = 0, {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.framework, name)

    def forward_backward(self, *args: Any, **kwargs: Any) -> StepResult:
        step, part = divmod(self.passes, self.accumulate)
        if part == 0 and step + 1 in self.steps:
            self.kept |= {f"{step + 1}/{name}": value for name, value in self.framework.state().items()}
        self.passes += 1
        return self.framework.forward_backward(*args, **kwargs)


def run_trajectory(
    framework: Framework,
    settings: RunConfig,
    data: Loader,
    factors: np.ndarray,
    steps: int,
    start: State,
    file: Path,
    keep: Iterable[int] = (),
) -> tuple[list[Line], State]:
    """The first `steps` steps of the run, by the engine itself, from the weights `start`.

    Returns the lines of `file` and `<step>/<name>`, the weights before each step of `keep`. The model and its average
    are left as they are after the last step.
    """
    framework.seed(settings.seed)
    framework.build(settings.model, settings.options)
    framework.load_state(start)
    groups = prepare_training(framework, settings)
    keeper = Keeper(framework, keep, settings.train.accumulate)
    log, position = MetricsLog(file), engine.Position()
    steps = min(steps, len(factors))
    progress = Progress(f"[{framework.name} probe, {file.stem}]", steps, 0, settings.log_seconds)
    while position.step < steps:
        left = steps - position.step
        engine.run_epoch(settings, keeper, data, groups, factors, position, log, progress, limit=left)
        position.next_epoch()
    progress.close()
    log.close()
    return read_metrics(file), keeper.kept


def from_anchors(
    framework: Framework,
    settings: RunConfig,
    data: Loader,
    anchors: Arrays,
    change: Callable[[State], State] = lambda state: state,
) -> State:
    """Losses and gradients of the trajectory's own batches at every state in `anchors`.

    `<step>/total`, `<step>/loss/<name>` and `<step>/norms` float64 [trainable parameters], the norm of each one's
    gradient in the order of the model. Draws and batches are those of the step in the run.
    """
    framework.build(settings.model, settings.options)
    groups = prepare_training(framework, settings)
    trainable = [name for group in groups for name in group.names]
    accumulate = settings.train.accumulate
    per_epoch = data.plan.steps_per_epoch // accumulate
    arrays: State = {}
    for step in sorted({int(name.partition("/")[0]) for name in anchors}):
        framework.load_state(change(anchors.part(f"{step}/")))
        epoch, place = divmod(step - 1, per_epoch)
        batches = data.batches(epoch + 1, place * accumulate)
        results = [
            framework.forward_backward(next(batches), Draws(settings.seed, step - 1, part), epoch, 1 / accumulate)
            for part in range(accumulate)
        ]
        batches.close()
        gradients = framework.gradients()
        norms = [norm(gradients[name]) if name in gradients else 0.0 for name in trainable]
        framework.optimizer_step([0.0 for _ in groups], None)  # only to clear the gradients
        arrays[f"{step}/total"] = np.float64(np.mean([result.total for result in results]))
        for name in results[0].losses:
            arrays[f"{step}/loss/{name}"] = np.float64(np.mean([result.losses[name] for result in results]))
        arrays[f"{step}/norms"] = np.array(norms, np.float64)
    return arrays
