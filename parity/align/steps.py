"""Optimiser steps for rungs 5 to 7. Every framework starts each step from the same state with the same gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from parity.align.files import SCORES, Arrays
from parity.align.sketch import sketch
from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.framework import Batch, Framework, Group
from parity.train.prepare import prepare_training
from parity.train.schedule import ema_decay
from parity.weights.last_bits import nudge

COUNTER = "num_batches_tracked"
DECAY_RATE = 100.0  # the largest rate of the step that shows weight decay: 100 x 1e-4 is a percent of a parameter

State = dict[str, np.ndarray]


@dataclass
class Step:
    """One optimiser step of the run: its number (from 1), epoch (from 0), first batch and the rate's factor."""

    number: int
    epoch: int
    batch: Batch
    factor: float


def steps_of_run(settings: RunConfig, data: Loader, factors: np.ndarray, numbers: list[int]) -> list[Step]:
    """These optimiser steps as the run takes them."""
    accumulate = settings.train.accumulate
    per_epoch = data.plan.steps_per_epoch // accumulate
    steps = []
    for number in numbers:
        epoch, place = divmod(number - 1, per_epoch)
        batches = data.batches(epoch + 1, place * accumulate)
        steps.append(Step(number, epoch, next(batches), float(factors[number - 1])))
        batches.close()
    return steps


def record_steps(
    framework: Framework,
    settings: RunConfig,
    steps: list[Step],
    start: State,
    reference: tuple[Arrays, Arrays] | None = None,
) -> tuple[State, list[Group], State]:
    """Take these steps of the run. Returns the arrays of train.npz, the parameter groups and the states passed.

    Without `reference` the framework goes on from its own state with its own gradients. With another run's states and
    train.npz it begins every step from those weights, moments and average, computes its own gradients, and then steps
    with *that run's* gradients. So each step is compared by itself and rounding cannot build up: Adam makes it grow to
    percents in three steps, because it moves a parameter whose gradient is only rounding as far as any other.

    Optimiser and average are told that as many steps were taken before as in the run, so that bias correction, rate and
    the average's decay are those of that step.

    Of the first step: losses, outputs and matches as in `trace`, and `trained/<path>`, sketches of what the modules
    answer in training; of step k after it the losses, matches and picked queries, under `batch<k>/`. Of step k, under
    `step<k>/`: `grad/<name>`, the framework's own; `delta/<name>`, the change of a parameter; `moment/<name>/<slot>`;
    `buffer/<name>`, counted batches included; `ema/<name>`, the change of the average; `keep`, its decay; and the norms
    of parameters, moments and average before. Then `step_total`, `step_grad_norm` and `step_clip` [K]. The framework is
    left as it is after the last step.
    """
    train = settings.train
    framework.load_state(start)
    groups = prepare_training(framework, settings)  # the average starts as a copy of the weights
    kinds = {info.name: info.kind for info in framework.tensors()}
    parameters = [name for name, kind in kinds.items() if kind != "buffer"]
    passed: State = {}
    arrays: State = {}
    numbers: dict[str, list[float]] = {"step_total": [], "step_grad_norm": [], "step_clip": []}
    for k, step in enumerate(steps):
        moments: State = {}  # none yet
        if k:
            moments = framework.optimizer_state() if reference is None else reference[0].part(f"{k}/moments/")
            moments["step"] = np.array([step.number - 1], np.int64)
            if reference is not None:
                framework.load_state(reference[0].part(f"{k}/state/"))
                if train.ema:
                    framework.load_ema(reference[0].part(f"{k}/ema/"))
            framework.load_optimizer_state(moments)
        before, average = framework.state(), framework.ema_state() if train.ema else {}
        if k and reference is None:
            passed |= {f"{k}/state/{name}": value for name, value in before.items()}
            passed |= {f"{k}/moments/{name}": value for name, value in moments.items()}
            passed |= {f"{k}/ema/{name}": value for name, value in average.items()}
        total, found = _gradients(framework, settings, step, outputs=True, modules=k == 0)
        arrays |= found if k == 0 else {f"batch{k}/{name}": found[name] for name in found if judged_again(name)}
        arrays |= {f"step{k}/grad/{name}": value for name, value in framework.gradients().items()}
        if reference is not None:
            framework.set_gradients(reference[1].part(f"step{k}/grad/"))
        norm, clip = framework.optimizer_step([group.lr * step.factor for group in groups], train.clip_norm)
        for name, value in zip(numbers, (total, norm, clip), strict=True):
            numbers[name].append(value)
        after = framework.state()
        arrays |= _changes(f"step{k}/delta", before, after, parameters)
        arrays |= {f"step{k}/buffer/{name}": after[name] for name, kind in kinds.items() if kind == "buffer"}
        taken = {n: value for n, value in framework.optimizer_state().items() if not n.endswith("step")}
        arrays |= {f"step{k}/moment/{name}": value for name, value in taken.items()}
        arrays[f"step{k}/moment_norms"] = _norms([moments.get(name, np.zeros(1)) for name in taken])
        if train.ema:
            arrays[f"step{k}/keep"] = np.float64(ema_decay(train.ema, step.number))
            framework.update_ema(float(arrays[f"step{k}/keep"]))
            arrays |= _changes(f"step{k}/ema", average, framework.ema_state(), list(kinds))
    arrays = {
        n: a.astype(np.float32) if "/" in n and a.dtype == np.float64 and a.ndim else a for n, a in arrays.items()
    }
    return arrays | {name: np.array(values, np.float64) for name, values in numbers.items()}, groups, passed


def record_gradients(
    framework: Framework,
    settings: RunConfig,
    steps: list[Step],
    start: State,
    states: Arrays,
    change: Callable[[State], State] = lambda state: state,
    losses: str | None = None,
) -> State:
    """Only the gradients and running statistics of `record_steps`, float32 whatever the framework computes in.

    `change` is applied to the weights before they are loaded. With `losses` also the losses of every batch and the raw
    outputs of the first one, as they are computed, under that prefix.
    """
    framework.load_state(change(start))
    buffers = [i.name for i in framework.tensors() if i.kind == "buffer" and COUNTER not in i.name]
    arrays: State = {}
    for k, step in enumerate(steps):
        if k:
            framework.load_state(change(states.part(f"{k}/state/")))
        framework.set_gradients({})
        found = _gradients(framework, settings, step, outputs=losses is not None)[1]
        place = losses if k == 0 else f"{losses}batch{k}/"
        arrays |= {f"{place}{name}": found[name] for name in found if compared_in_float64(name, k)}
        arrays |= {f"step{k}/grad/{name}": value.astype(np.float32) for name, value in framework.gradients().items()}
        state = framework.state()
        arrays |= {f"step{k}/buffer/{name}": state[name].astype(np.float32) for name in buffers}
    framework.set_gradients({})
    return arrays


def _gradients(
    framework: Framework, settings: RunConfig, step: Step, outputs: bool = False, modules: bool = False
) -> tuple[float, State]:
    """One forward and backward pass of the step; (loss, losses, outputs and matches if asked for, and the modules)."""
    draws = Draws(settings.seed, step.number - 1, 0)
    if not outputs:
        return framework.forward_backward(step.batch, draws, step.epoch).total, {}
    with framework.record_layers() as layers:
        result = framework.forward_backward(step.batch, draws, step.epoch, extras=True)
    arrays = {f"layer/{SCORES}": layers[SCORES]} if SCORES in layers else {}
    if modules:
        arrays |= {f"trained/{path}": sketch(path, x) for path, x in layers.items() if x.dtype.kind == "f"}
    arrays |= result.extras | {f"loss/{name}": np.float64(value) for name, value in result.losses.items()}
    return result.total, arrays | {"total": np.float64(result.total)}


def judged_again(name: str) -> bool:
    """Whether rung 5 compares this array of every batch, not of the first one only: all but the raw outputs."""
    return not name.startswith("output/") or name == "output/topk_ind"


def compared_in_float64(name: str, k: int) -> bool:
    """Whether this array of batch k is compared with float64: losses, and of the first batch outputs with order."""
    return name == "total" or name.startswith("loss/") or (k == 0 and name.startswith(("output/", "layer/")))


def _changes(prefix: str, before: State, after: State, names: list[str]) -> State:
    """after - before of every tensor, and `<prefix>_norms`, the norms before, in the same order."""
    arrays = {f"{prefix}/{n}": after[n].astype(np.float64) - before[n] for n in names}
    return arrays | {f"{prefix}_norms": _norms([before[n] for n in names])}


def _norms(arrays: list[np.ndarray]) -> np.ndarray:
    return np.array([np.linalg.norm(np.asarray(array, np.float64).ravel()) for array in arrays], np.float64)


def record_decay(
    framework: Framework,
    settings: RunConfig,
    groups: list[Group],
    start: State,
    recorded: Mapping[str, np.ndarray],
) -> State:
    """`decay/<name>`: one step with gradients of zero, no moments and rates so large that weight decay is seen.

    In a usual step it is smaller than the rounding of a parameter. `recorded` says which parameters have a gradient.
    """
    framework.load_state(start)
    prepare_training(framework, settings)
    prefix = "step0/grad/"
    reached = [name for name in recorded if name.startswith(prefix)]
    framework.set_gradients({name.removeprefix(prefix): np.zeros_like(recorded[name]) for name in reached})
    largest = max((group.lr for group in groups), default=0.0) or 1.0
    before = framework.state()
    framework.optimizer_step([DECAY_RATE * group.lr / largest for group in groups], None)
    return _changes("decay", before, framework.state(), [name for group in groups for name in group.names])


def last_bits(seed: int) -> Callable[[State], State]:
    """A change that moves every floating value that is not zero to the next float, up or down at random.

    It depends on the names, not on their order: a file of weights is read in another order by every process.
    """
    return lambda state: nudge(state, "nonzeros", seed)
