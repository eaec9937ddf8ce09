"""The first steps of the real training, for rungs 9 and 10: the run itself, and steps from states kept from it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from parity.align.files import Arrays, steps_of
from parity.align.sketch import sketch
from parity.align.steps import State
from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.framework import Framework, StepResult
from parity.train import engine
from parity.train.prepare import prepare_training
from parity.train.progress import Progress
from parity.train.record import Line, MetricsLog, read_metrics

ANCHORS = 10  # states of the first framework, spread over the trajectory, that every framework goes on from
# Share of the largest gradient up to which one is only rounding. It equals the tolerance "zero gradient". It stands
# here too, because a probe that read the tolerances would be made again whenever one of them changes.
ROUNDED = 1e-6


class Keeper:
    """Wraps a framework and hands its weights and moments to `keep` before some optimiser steps.

    It also notes the learning rates that the optimiser is given. Everything else goes to the framework unchanged.
    """

    def __init__(self, framework: Framework, steps: Iterable[int], accumulate: int, keep: Callable[[State], None]):
        self.framework, self.steps, self.accumulate, self.keep = framework, set(steps), accumulate, keep
        self.passes, self.rates = 0, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.framework, name)

    def forward_backward(self, *args: Any, **kwargs: Any) -> StepResult:
        step, part = divmod(self.passes, self.accumulate)
        if part == 0 and step + 1 in self.steps:
            self.keep({f"{step + 1}/state/{name}": value for name, value in self.framework.state().items()})
            moments = self.framework.optimizer_state()
            self.keep({f"{step + 1}/moments/{name}": value for name, value in moments.items()})
        self.passes += 1
        return self.framework.forward_backward(*args, **kwargs)

    def optimizer_step(self, lrs: list[float], clip_norm: float | None) -> tuple[float, float]:
        self.rates.append(list(lrs))
        return self.framework.optimizer_step(lrs, clip_norm)


def run_trajectory(
    framework: Framework,
    settings: RunConfig,
    data: Loader,
    factors: np.ndarray,
    steps: int,
    start: State,
    file: Path,
    anchors: Iterable[int] = (),
    keep: Callable[[State], None] = lambda arrays: None,
) -> tuple[list[Line], State]:
    """Take the first `steps` steps of the run with the engine itself, from the weights `start`.

    Returns the lines of `file` and the rates that the optimiser was given, float64 [steps, groups]. `keep` is called
    with `<step>/state/<name>` and `<step>/moments/<name>` before each step of `anchors`. The model and its average are
    left as they are after the last step.
    """
    framework.seed(settings.seed)
    framework.build(settings.model, settings.options)
    framework.load_state(start)
    groups = prepare_training(framework, settings)
    keeper = Keeper(framework, anchors, settings.train.accumulate, keep)
    log, position = MetricsLog(file), engine.Position()
    steps = min(steps, len(factors))
    progress = Progress(f"[{framework.name} probe, {file.stem}]", steps, 0, settings.log_seconds)
    while position.step < steps:
        left = steps - position.step
        engine.run_epoch(settings, keeper, data, groups, factors, position, log, progress, limit=left)
        position.next_epoch()
    progress.close()
    log.close()
    return read_metrics(file), np.array(keeper.rates, np.float64)


def from_anchors(
    framework: Framework,
    settings: RunConfig,
    data: Loader,
    factors: np.ndarray,
    anchors: Arrays,
    change: Callable[[State], State] = lambda state: state,
) -> State:
    """The trajectory's own steps, each from the state in `anchors`: losses, gradients and the update taken.

    `<step>/total`, `<step>/loss/<name>`, and as sketches (see `parity.align.sketch`) `<step>/grad/<name>` and
    `<step>/update/<name>`, the change of a parameter. `<step>/weight/<name>` is the parameter's norm before. Draws,
    batches, rates and moments are those of the step in the run; `change` is applied to the weights before they are
    loaded.

    Elements that are not `settled` are left out of an update's sketch: `<step>/settled/<name>` counts the others, and
    `<step>/left_out` is the share of elements left out of those parameters that keep some.
    """
    framework.build(settings.model, settings.options)
    groups = prepare_training(framework, settings)
    accumulate = settings.train.accumulate
    per_epoch = data.plan.steps_per_epoch // accumulate
    arrays: State = {}
    for step in steps_of(anchors):
        framework.load_state(change(anchors.part(f"{step}/state/")))
        moments = anchors.part(f"{step}/moments/")
        framework.load_optimizer_state(moments)
        epoch, place = divmod(step - 1, per_epoch)
        batches = data.batches(epoch + 1, place * accumulate)
        results = [
            framework.forward_backward(next(batches), Draws(settings.seed, step - 1, part), epoch, 1 / accumulate)
            for part in range(accumulate)
        ]
        batches.close()
        gradients, before, known = framework.gradients(), framework.state(), settled(moments)
        kept = [mask for name, mask in known.items() if name in gradients and mask.any()]
        arrays[f"{step}/left_out"] = np.float64(1 - np.mean(np.concatenate([m.ravel() for m in kept])) if kept else 0.0)
        framework.optimizer_step([group.lr * factors[step - 1] for group in groups], settings.train.clip_norm)
        after = framework.state()
        for name, gradient in gradients.items():
            arrays[f"{step}/grad/{name}"] = sketch(name, gradient)
            moved = after[name].astype(np.float64) - before[name]
            if name in known:
                moved = np.where(known[name], moved, 0.0)
                arrays[f"{step}/settled/{name}"] = np.int64(known[name].sum())
            arrays[f"{step}/update/{name}"] = sketch(name, moved)
            arrays[f"{step}/weight/{name}"] = np.float64(np.linalg.norm(np.float64(before[name])))
        arrays[f"{step}/total"] = np.float64(np.mean([result.total for result in results]))
        for name in results[0].losses:
            arrays[f"{step}/loss/{name}"] = np.float64(np.mean([result.losses[name] for result in results]))
    return arrays


def settled(moments: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which elements of each parameter have had a gradient that is more than rounding, as booleans; only Adam's.

    Adam divides by the root of the second moment. So it moves an element whose gradient is nothing but rounding as far
    as any other, and in another direction in every run. Rounding is what is below ROUNDED, relative to the largest
    element. Every framework is given the same moments, so the answer is the same too.
    """
    second = "/exp_avg_sq"
    sizes = {name.removesuffix(second): np.sqrt(v) for name, v in moments.items() if name.endswith(second)}
    floor = ROUNDED * max((float(size.max(initial=0)) for size in sizes.values()), default=0.0)
    return {name: size > floor for name, size in sizes.items()}
