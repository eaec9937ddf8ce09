"""Optimiser steps for rungs 5 to 7: each from a state that all who take part are given."""

from collections.abc import Callable, Mapping

import numpy as np

from parity.align.files import Arrays
from parity.align.queries import SCORES
from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.framework import Batch, Framework, Group
from parity.train.prepare import prepare_training
from parity.train.schedule import ema_decay

COUNTER = "num_batches_tracked"

State = dict[str, np.ndarray]


def record_steps(
    framework: Framework,
    settings: RunConfig,
    batches: list[Batch],
    start: State,
    states: Arrays | None = None,
    change: Callable[[State], State] = lambda state: state,
) -> tuple[State, list[Group], State]:
    """One optimiser step on each batch. Returns the arrays of train.npz, the parameter groups and the states passed.

    Without `states` the framework goes on from its own state; with the states that another run passed, it begins every
    step from those weights, moments and average. So each step is compared by itself, and rounding cannot build up
    between them: Adam makes it grow to percents in three steps, because it moves a parameter whose gradient is only
    rounding as far as any other. `change` is applied to weights before they are loaded.

    Of the first step: `loss/<name>`, `total`, outputs and matches as in `trace`. Of step k: `step<k>/grad/<name>`,
    `step<k>/delta/<name>`, the change of a parameter, and `step<k>/buffer/<name>`; `ema_delta/<name>` of the last;
    `step_total`, `step_grad_norm` and `step_clip` [K]. Floating arrays are float32, whatever the framework computes in.
    """
    train = settings.train
    framework.load_state(change(start))
    groups = prepare_training(framework, settings)  # the average starts as a copy of the weights
    kinds = {info.name: info.kind for info in framework.tensors() if COUNTER not in info.name}
    passed: State = {}
    arrays: State = {}
    numbers: dict[str, list[float]] = {"step_total": [], "step_grad_norm": [], "step_clip": []}
    for k, batch in enumerate(batches):
        if k and states is not None:
            framework.load_state(change(states.part(f"{k}/state/")))
            framework.load_optimizer_state(states.part(f"{k}/moments/"))
            if train.ema:
                framework.load_ema(states.part(f"{k}/ema/"))
        before, average = framework.state(), framework.ema_state() if train.ema else {}
        if k and states is None:
            passed |= {f"{k}/state/{name}": value for name, value in before.items()}
            passed |= {f"{k}/moments/{name}": value for name, value in framework.optimizer_state().items()}
            passed |= {f"{k}/ema/{name}": value for name, value in average.items()}
        draws = Draws(settings.seed, k, 0)
        if k == 0:
            with framework.record_layers() as layers:
                result = framework.forward_backward(batch, draws, 0, extras=True)
            arrays |= {f"layer/{SCORES}": layers[SCORES]} if SCORES in layers else {}
            arrays |= result.extras | {f"loss/{name}": np.float32(value) for name, value in result.losses.items()}
            arrays["total"] = np.float32(result.total)
            del layers
        else:
            result = framework.forward_backward(batch, draws, 0)
        arrays |= {f"step{k}/grad/{name}": value for name, value in framework.gradients().items()}
        norm, clip = framework.optimizer_step([group.lr for group in groups], train.clip_norm)
        for name, value in zip(numbers, (result.total, norm, clip), strict=True):
            numbers[name].append(value)
        after = framework.state()
        arrays |= _changes(f"step{k}/delta", before, after, kinds)
        arrays |= {f"step{k}/buffer/{name}": after[name] for name, kind in kinds.items() if kind == "buffer"}
        if train.ema:
            framework.update_ema(ema_decay(train.ema, k + 1))
            if k == len(batches) - 1:
                arrays |= _changes("ema_delta", average, framework.ema_state(), kinds)
    arrays = {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}
    return arrays | {name: np.array(values, np.float64) for name, values in numbers.items()}, groups, passed


def _changes(prefix: str, before: State, after: State, kinds: Mapping[str, str]) -> State:
    """after - before of every parameter."""
    names = [name for name, kind in kinds.items() if kind != "buffer"]
    return {f"{prefix}/{n}": after[n].astype(np.float64) - before[n] for n in names}


def last_bits(seed: int) -> Callable[[State], State]:
    """A change that moves every floating value to the next one that its type can hold, up or down at random."""

    def change(state: State) -> State:
        rng = np.random.default_rng(seed)
        towards = (-np.inf, np.inf)
        return {
            name: np.nextafter(a, np.asarray(rng.choice(towards, a.shape), a.dtype)) if a.dtype.kind == "f" else a
            for name, a in state.items()
        }

    return change
