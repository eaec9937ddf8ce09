"""Page faults of a training step in PyTorch, by the moment when the gradients of the step before are cleared.

    python tests/torch_impl/page_faults.py --config run.yaml --weights init.safetensors

A page fault is the moment when the system hands the process a page of memory. A step that needs as much memory as the
one before should cause hardly any. Gradients that are cleared right after the optimiser's step (`after`) are free
memory during the next forward pass: the C library gives it back to the system, and every page of it is handed out anew.
Cleared before the step's first backward pass (`before`, what `torch_impl.optim` does) they are used again at once.

Each moment is measured in two processes of its own, in turns (before, after, after, before). Counts need no idle
machine; the times beside them do.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from parity.config.run import load_run  # noqa: E402
from parity.data.draws import Draws  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.given import framework_of  # noqa: E402
from parity.train.prepare import prepare_training  # noqa: E402
from parity.train.schedule import ema_decay  # noqa: E402
from parity.weights import formats  # noqa: E402
from torch_impl.framework import TorchFramework  # noqa: E402

ORDER = ("before", "after", "after", "before")


def steps(config: str, weights: str, moment: str, warmup: int, count: int) -> tuple[list[int], list[float]]:
    """Page faults and seconds of each of `count` steps, after `warmup` others."""
    run = load_run(config)
    run = run.but(workers=0, framework_options={**run.framework_options, "tuned": True})
    framework = framework_of(run, TorchFramework, config)
    framework.seed(run.seed)
    framework.build(run.model, run.options)
    framework.load_state(formats.read(weights))
    batches = list(loaders.train_loader(run, cache_bytes=0).batches(1))
    rates = [group.lr for group in prepare_training(framework, run)]
    faults, seconds = [], []
    for number in range(1, warmup + count + 1):
        batch = batches[number % len(batches)]
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        framework.forward_backward(batch, Draws(run.seed, number), 0)
        framework.optimizer_step(rates, run.train.clip_norm, norm=False)
        if moment == "after":
            framework.optimizer.clear()
        if run.train.ema:
            framework.update_ema(ema_decay(run.train.ema, number))
        if number > warmup:
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
            seconds.append(time.perf_counter() - begun)
    return faults, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="Weights to begin with.")
    parser.add_argument("--warmup", type=int, default=5, help="Steps that are not counted.")
    parser.add_argument("--steps", type=int, default=15, help="Steps that are.")
    parser.add_argument("--moment", choices=("before", "after"), help="Count in this process; both in turns if absent.")
    args = parser.parse_args()
    if args.moment:
        faults, seconds = steps(args.config, args.weights, args.moment, args.warmup, args.steps)
        middle, milliseconds = statistics.median(faults), 1e3 * statistics.median(seconds)
        print(f"{args.moment}: {middle:.0f} page faults a step ({min(faults)} to {max(faults)}), {milliseconds:.0f} ms")
        return
    for moment in ORDER:
        subprocess.run([sys.executable, *sys.argv, "--moment", moment], check=True)


if __name__ == "__main__":
    main()
