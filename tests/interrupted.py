"""Kill a training at random points, call it again, compare with one that was left alone: every file, bit for bit.

    PYTHONPATH=. .venvs/torch/bin/python tests/interrupted.py torch --kills 20

A point is an event (a step of the model, a file opened, half written, renamed or removed in the run's folder), drawn at
random, or, for every third one, a moment by the clock. SIGKILL and SIGTERM take turns; no handler sees either. A
checkpoint is written after every step, so that many points fall into its writing.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "parity"), str(HERE.parent)]

from small_run import make_dataset, make_rtdetr_run, make_run  # noqa: E402

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.truncate")
STEP_EVENTS = ("forward_backward", "optimizer_step", "update_ema", "predict")
FILES = ("last.safetensors", "ema.safetensors", "best.safetensors", "coco.json", "detections.json", "states.npz")
# times, memory, and the checkout, which somebody may edit meanwhile
APART = ("seconds", "peak_memory_mb", "started", "finished", "device_memory_mb", "commit")
FORKS = ("numpy", "torch")  # Jittor does not survive a fork


def framework_class(name: str) -> type:
    """The `Framework` subclass of a name."""
    if name == "numpy":
        from numpy_framework import NumpyFramework

        return NumpyFramework
    module = __import__(f"{name}_impl.framework", fromlist=["framework"])
    return getattr(module, f"{name.capitalize()}Framework")


def train(name: str, run: dict[str, Any], out: Path, kill_at: int = 0, number: int = signal.SIGKILL) -> int:
    """One training in this process; returns the number of events, or dies at the `kill_at`-th."""
    import safetensors

    from parity.config.run import RunConfig
    from parity.train import engine

    count, place = 0, str(out) + os.sep

    def event(what: str) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            descriptor = os.open(f"{out}.killed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(descriptor, what.encode())
            os.kill(os.getpid(), number)
            time.sleep(60)

    def hook(what: str, arguments: tuple) -> None:
        if what in FILE_EVENTS and str(arguments[0]).startswith(place):
            event(f"{what} {str(arguments[0]).removeprefix(place)}")

    whole = safetensors.serialize_file

    def in_two_halves(entries, path, metadata=None):
        whole(entries, path, metadata=metadata)
        data = Path(path).read_bytes()
        os.truncate(path, len(data) // 2)
        event(f"half of {str(path).removeprefix(place)}")
        Path(path).write_bytes(data)

    class Watched(framework_class(name)):
        pass

    for step in STEP_EVENTS:

        def call(self, *args, step=step, **kwargs):
            result = getattr(super(Watched, self), step)(*args, **kwargs)
            event(step)
            return result

        setattr(Watched, step, call)
    safetensors.serialize_file = in_two_halves
    sys.addaudithook(hook)
    engine.train(RunConfig(**run), Watched("cpu", 1, run["framework_options"]), out)
    return count


def launch(name: str, settings: Path, out: Path, kill_at: int = 0, number: int = signal.SIGKILL, after: float = 0):
    """`train` in a process of its own, killed at an event or `after` seconds; returns its (exit status, stderr)."""
    said = Path(f"{out}.said")
    if name in FORKS:
        process = os.fork()
        if process == 0:
            with open(said, "w") as stderr:
                os.dup2(stderr.fileno(), 2)
                sys.stderr = stderr
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                status = 1
                try:
                    events = train(name, json.loads(settings.read_text()), out, kill_at, number)
                    Path(f"{out}.events").write_text(str(events))
                    status = 0
                except BaseException as error:  # the child must not come back into the parent's code
                    print(f"{type(error).__name__}: {error}", file=stderr)
                stderr.flush()
                os._exit(status)
        wait: Callable[[], int] = lambda: os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])  # noqa: E731
    else:
        command = [sys.executable, __file__, name, "--child", str(settings), str(out), str(kill_at), str(int(number))]
        with open(said, "w") as stderr:
            child = subprocess.Popen(command, stderr=stderr, env=os.environ | {"PYTHONPATH": str(HERE.parent)})
        process, wait = child.pid, child.wait
    if after:
        time.sleep(after)
        os.kill(process, number)  # a child that has ended is still to be waited for, so the number is its own
    return wait(), said.read_text()


def outcome(out: Path) -> dict[str, Any]:
    """Everything that a run leaves behind, but for `APART`."""
    found: dict[str, Any] = {name: (out / name).read_bytes() for name in FILES if (out / name).exists()}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lines.append(json.loads((out / "run.json").read_text()))
    return found | {"metrics": [{key: value for key, value in line.items() if key not in APART} for line in lines]}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The differences of two outcomes: names of files, and the first value of the metrics."""
    from parity.files import leaves

    found = [key for key in {**first, **second} if key != "metrics" and first.get(key) != second.get(key)]
    pairs = zip(leaves(first["metrics"]), leaves(second["metrics"]), strict=False)
    return found + [f"metrics{a[0]} {a[1]} {b[1]}" for a, b in pairs if a != b][:1]


def prepare(name: str, folder: Path, framework: str | None = None) -> dict[str, Any]:
    """Dataset, initial weights and the configuration of a run; returns the configuration."""
    data, init = make_dataset(folder / "data", *((12, 4) if name == "numpy" else (8, 2))), folder / "init.safetensors"
    run = (make_run if name == "numpy" else make_rtdetr_run)(data, init, framework or name)
    run["checkpoint_minutes"] = 1e-9
    (folder / "run.json").write_text(json.dumps(run))
    return run


def draw_weights(name: str, run: dict[str, Any]) -> None:
    """Initial weights, from the framework itself."""
    from parity.weights import formats

    framework = framework_class(name)("cpu", 1, run["framework_options"])
    framework.seed(0)
    framework.build(run["model"], run["options"])
    formats.write(run["weights"], framework.state())


def table(name: str, kills: int, folder: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Kill and repeat `kills` trainings; a row each: where it was killed, where it went on, what differs at the end."""
    run = prepare(name, folder)
    settings = folder / "run.json"
    if name in FORKS:
        process = os.fork()
        if process == 0:
            draw_weights(name, run)
            os._exit(0)
        os.waitpid(process, 0)
    else:
        subprocess.run([sys.executable, __file__, name, "--weights", str(settings)], check=True)
    begin = time.monotonic()
    status, said = launch(name, settings, folder / "whole")
    assert status == 0, said
    seconds, whole = time.monotonic() - begin, outcome(folder / "whole")
    events = int((folder / "whole.events").read_text())
    rng, rows = random.Random(seed), []
    for point in range(kills):
        out = folder / f"killed-{point}"
        number = (signal.SIGKILL, signal.SIGTERM)[point % 2]
        status = 0
        if point % 3 == 2:
            after = rng.uniform(0.05, 0.9) * seconds
            status, said = launch(name, settings, out, 0, number, after)
            where = f"{100 * after / seconds:.0f} % of the time"
        if status == 0:  # an event; also instead of a moment that came too late
            shutil.rmtree(out, ignore_errors=True)
            at = rng.randint(1 + events * point // kills, events * (point + 1) // kills)
            status, said = launch(name, settings, out, at, number)
            where = f"event {at} of {events}: {Path(f'{out}.killed').read_text()}"
        assert status == -number, (status, said)
        status, said = launch(name, settings, out)
        assert status == 0, said
        went_on = next((line.split("continues ")[1] for line in said.splitlines() if "continues " in line), "the start")
        differs = differences(whole, outcome(out))
        rows.append({"signal": signal.Signals(number).name, "killed": where, "again": went_on, "differs": differs})
    return rows


def show(name: str, rows: list[dict[str, Any]]) -> str:
    """The table as Markdown, and how many were identical."""
    lines = ["| # | signal | killed at | went on | result |", "|--:|---|---|---|---|"]
    for i, row in enumerate(rows, 1):
        result = f"differs: {', '.join(row['differs'])}" if row["differs"] else "identical"
        lines.append(f"| {i} | {row['signal']} | {row['killed']} | {row['again']} | {result} |")
    same = sum(not row["differs"] for row in rows)
    return "\n".join([*lines, "", f"{name}: {same} of {len(rows)} identical"])


def main() -> int:
    """Print the table; status 1 when a repeated training differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=["numpy", "torch", "jittor"])
    parser.add_argument("--kills", type=int, default=20, help="How many points; 20 by default.")
    parser.add_argument("--seed", type=int, default=0, help="Other points for another seed.")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        settings, out, kill_at, number = args.child
        events = train(args.framework, json.loads(Path(settings).read_text()), Path(out), int(kill_at), int(number))
        Path(f"{out}.events").write_text(str(events))
        return 0
    if args.weights:
        draw_weights(args.framework, json.loads(args.weights.read_text()))
        return 0
    if args.framework in FORKS:
        framework_class(args.framework)  # imported once, before the forks
    with tempfile.TemporaryDirectory() as folder:
        rows = table(args.framework, args.kills, Path(folder), args.seed)
    print(show(args.framework, rows))
    return any(row["differs"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
