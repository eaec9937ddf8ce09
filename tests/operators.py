"""Which operators a training step, and inference on the same batch, spend their time in, in one of the frameworks.

    .venvs/torch/bin/python tests/operators.py torch rtdetr --data results/data/<name>-<hash> --threads 2
    .venvs/jittor/bin/python tests/operators.py jittor rtdetr --data results/data/<name>-<hash> --threads 2

The official variant at the size and batch of docs/speed.md. Each framework's own profiler counts. It slows a step down,
so that its times are shares and no measurement: `make bench` measures. Jittor's rows are fused operators, PyTorch's are
the functions of its dispatcher, each without what it calls. A source of our own is named by its file.
"""

import argparse
import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from official_step import VARIANTS, Ours, first_batches, make_config  # noqa: E402

from parity.report.pipe_table import pipe_table  # noqa: E402

WARMUP, TAKEN = 2, 3  # repetitions before the profiler counts, and while it does
SHORT = 12  # characters; lines up to here, as `}`, are in every source
Times = Counter[str]  # operator -> milliseconds of one repetition


def torch_times(work: Callable[[], None]) -> Times:
    """What PyTorch's profiler counts of TAKEN repetitions."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(TAKEN):
            work()
    return Times({one.key: one.self_cpu_time_total / 1e3 / TAKEN for one in found.key_averages()})


def jittor_times(work: Callable[[], None]) -> Times:
    """What Jittor's profiler counts of TAKEN repetitions. An operator is named by what was fused into it."""
    from jittor_impl.runtime import jt

    with jt.profile_scope() as report:
        for _ in range(TAKEN):
            work()
    times: Times = Times()
    for row in report[1:]:
        times[operator(row[0])] += float(row[3]) / 1e6 / TAKEN
    return times


def operator(key: str) -> str:
    """A name for a kernel of Jittor's: the file in `ops` that its source is from, or what was fused into it.

    Names of fused operators stand once each, in the order of the kernel's key, for example `binary+reduce`.
    """
    source = {line.strip() for line in key.partition("«CODE:")[2].splitlines() if len(line.strip()) > SHORT}
    if source:
        shared = {path.name: len(source & lines(path)) for path in (ROOT / "jittor_impl/ops").glob("*.py")}
        best = max(shared, key=shared.__getitem__)
        return f"ops/{best}" if shared[best] else "Jittor's own source"
    names = re.findall(r"opkey\d+:(\w+)", key) or re.findall(r"\w+", key)[:1]
    return "+".join(dict.fromkeys(names))


@cache
def lines(path: Path) -> set[str]:
    """The lines of a file, without indentation."""
    return {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=("torch", "jittor"))
    parser.add_argument("model", choices=VARIANTS)
    parser.add_argument("--data", required=True, type=Path, help="A prepared dataset, results/data/<name>-<hash>.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=12, help="Operators to name; the rest is one row.")
    args = parser.parse_args()
    run = make_config(args.model, args.data).but(threads=args.threads)
    framework = getattr(
        importlib.import_module(f"{args.framework}_impl.framework"), f"{args.framework.capitalize()}Framework"
    )
    ours, (batch, *_) = Ours(run, framework), first_batches(run)
    count = torch_times if args.framework == "torch" else jittor_times
    for title, work in (("training step", lambda: ours.step(1, batch)), ("inference", lambda: ours.detect(batch))):
        for _ in range(WARMUP):
            work()
        times = count(work)
        total, shown = sum(times.values()), times.most_common(args.rows)
        shown.append(("everything else", total - sum(value for _, value in shown)))
        rows = [[name, f"{value:.1f}", f"{100 * value / total:.1f} %"] for name, value in shown]
        print(pipe_table([f"{args.framework}, {args.model}: {title}", "ms", "share"], rows), end="\n\n")


if __name__ == "__main__":
    main()
