"""Page faults and time of a training step in PyTorch, by the moment when the gradients of the step before are cleared.

    python tests/torch_impl/page_faults.py --config run.yaml --weights init.safetensors

A page fault is the moment when the system hands the process a page of memory. A step that needs as much memory as the
one before should cause hardly any. Gradients that are cleared right after the optimiser's step (`after`) are free
memory during the next forward pass: the C library gives it back to the system, and every page of it is handed out anew.
Cleared before the step's first backward pass (`before`, what `torch_impl.optim` does) they are used again at once.

Page faults are counted in two processes of each moment (before, after, after, before). Then both take turns in one
process, on the same batches, and their times are compared.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from turns import in_turns, processor_seconds  # noqa: E402

from parity.config.run import load_run  # noqa: E402
from parity.data.draws import Draws  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.given import framework_of  # noqa: E402
from parity.train.prepare import prepare_training  # noqa: E402
from parity.train.schedule import ema_decay  # noqa: E402
from parity.weights import formats  # noqa: E402
from torch_impl.framework import TorchFramework  # noqa: E402

ORDER = ("before", "after", "after", "before")
ROUND, LEFT_OUT = 6, 2  # steps of a round, and those at its beginning that are not timed: memory is the other moment's


def make_step(config: str, weights: str) -> Callable[[int, str], None]:
    """A function that takes step `number` (from 1) and clears the gradients at a moment."""
    run = load_run(config)
    run = run.but(workers=0, framework_options={**run.framework_options, "tuned": True})
    framework = framework_of(run, TorchFramework, config)
    framework.seed(run.seed)
    framework.build(run.model, run.options)
    framework.load_state(formats.read(weights))
    batches = list(loaders.train_loader(run, cache_bytes=0).batches(1))
    rates = [group.lr for group in prepare_training(framework, run)]

    def step(number: int, moment: str) -> None:
        framework.forward_backward(batches[number % len(batches)], Draws(run.seed, number), 0)
        framework.optimizer_step(rates, run.train.clip_norm, norm=False)
        if moment == "after":
            framework.optimizer.clear()
        if run.train.ema:
            framework.update_ema(ema_decay(run.train.ema, number))

    return step


def count_faults(step: Callable[[int, str], None], moment: str, warmup: int, count: int) -> list[int]:
    """Page faults of each of `count` steps, after `warmup` others."""
    faults = []
    for number in range(1, warmup + count + 1):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step(number, moment)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return faults[warmup:]


def round_of(step: Callable[[int, str], None], moment: str) -> Callable[[], float]:
    """Seconds of a step of the same few steps, in the mean."""

    def seconds() -> float:
        taken = [processor_seconds(lambda number=number: step(number, moment)) for number in range(1, ROUND + 1)]
        return statistics.mean(taken[LEFT_OUT:])

    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="Weights to begin with.")
    parser.add_argument("--warmup", type=int, default=5, help="Steps that are not counted.")
    parser.add_argument("--steps", type=int, default=15, help="Steps whose page faults are.")
    parser.add_argument("--rounds", type=int, default=16, help="Rounds of both moments that are timed.")
    parser.add_argument("--moment", choices=("before", "after"), help="Count in this process; both in turns if absent.")
    args = parser.parse_args()
    if args.moment:
        faults = count_faults(make_step(args.config, args.weights), args.moment, args.warmup, args.steps)
        print(f"{args.moment}: {statistics.median(faults):.0f} page faults a step ({min(faults)} to {max(faults)})")
        return
    for moment in ORDER:
        subprocess.run([sys.executable, *sys.argv, "--moment", moment], check=True)
    step = make_step(args.config, args.weights)
    print(f"after / before: {in_turns(round_of(step, 'after'), round_of(step, 'before'), args.rounds)}")


if __name__ == "__main__":
    main()
