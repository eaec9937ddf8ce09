"""The verb `profile`: latency, training step time and memory of one framework, alone on the machine.

Inference is timed image by image at batch size 1, split into preprocessing (read, decode, resize), forward (from the
arrays to raw outputs, device synchronised) and post-processing (to detections). Training steps are timed whole; a
second series of steps, synchronised between its parts, gives the split, because the extra waiting would slow a lazy
framework. In between, a fixed computation shows how fast the machine itself is (`machine_speed`); how many cores other
processes used is recorded for each of the two timed series.

A framework is measured as a good user would run it: with the option `tuned`, so that it spends no time on making a run
repeatable to the last bit, and without a gradient norm where nothing clips. One process is one sample: conclusions
about speed need several (`parity.measure.processes`).
"""

import argparse
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from parity.config.run import RunConfig, load_run
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.files import read_json, write_json
from parity.framework import Batch, Framework
from parity.measure.machine_speed import Others, Pulse
from parity.train import loaders
from parity.train.given import framework_of
from parity.train.meter import METER, Meter
from parity.train.prepare import prepare_training
from parity.train.record import host, now, parameter_counts
from parity.train.schedule import ema_decay
from parity.weights import formats

PULSES = 10  # looks at the machine among the latency samples
MACS_RULE = "multiply-accumulates of one forward pass at batch 1: convolutions, linear layers and attention products"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="Weights to measure with.")
    parser.add_argument("--out", required=True, help="profile.json to write.")
    parser.add_argument(
        "--setting", help="Name of the measurement, for example jittor-stock; the framework by default."
    )
    parser.add_argument("--ops", choices=["fast", "stock"], help="Operators to use instead of the configured ones.")
    parser.add_argument(
        "--compile", action="store_true", help="Have the framework compile the model, where it has an option for that."
    )
    parser.add_argument(
        "--compile-seconds", type=int, help="With --compile: give up after so many seconds, and say so in profile.json."
    )
    parser.add_argument(
        "--as", dest="first", help="With --compile: profile.json of an earlier process; where it gave up, give up too."
    )
    parser.add_argument("--images", type=int, default=100, help="Latency samples to take.")
    parser.add_argument("--steps", type=int, default=20, help="Training steps to take, for each of the two series.")
    parser.add_argument("--warmup", type=int, default=5, help="Images and steps to run before anything is timed.")


class Stopwatch:
    """Seconds between calls, after the framework has finished its queued work."""

    def __init__(self, framework: Framework):
        self.framework, self.last = framework, time.perf_counter()

    def lap(self, synchronize: bool = True) -> float:
        if synchronize:
            self.framework.synchronize()
        previous, self.last = self.last, time.perf_counter()
        return self.last - previous


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb."""
    process_age = time.time() - psutil.Process().create_time()
    configuration = load_run(args.config)
    options = {**configuration.framework_options, "tuned": True}
    options |= ({"ops": args.ops} if args.ops else {}) | ({"compile": True} if args.compile else {})
    configuration = configuration.but(framework_options=options)
    if args.compile:
        report = measure_compiled(args, configuration, framework_class, process_age)
    else:
        report = measure(args, configuration, framework_class, process_age)
    write_json(args.out, report)


class GaveUp(BaseException):
    """The time is over. This is no subclass of Exception, because compilers catch those and try something else."""


def measure_compiled(
    args: argparse.Namespace, configuration: RunConfig, framework_class: type[Framework], process_age: float
) -> dict[str, Any]:
    """What `measure` returns, or the reason why there is nothing to measure, under `uncompiled`."""
    if args.first and (reason := read_json(args.first).get("uncompiled")):
        return {"setting": args.setting, "uncompiled": reason}

    def give_up(number: int, frame: Any) -> None:
        raise GaveUp

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(args.compile_seconds or 0)
    try:
        return measure(args, configuration, framework_class, process_age)
    except GaveUp:
        reason = f"not compiled and measured within {args.compile_seconds} seconds"
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return {"setting": args.setting, "uncompiled": reason}


def measure(
    args: argparse.Namespace, configuration: RunConfig, framework_class: type[Framework], process_age: float
) -> dict[str, Any]:
    """Everything that profile.json holds. `process_age` are the seconds that this process has lived so far."""
    begun, load_before = now(), os.getloadavg()[0]
    with Meter() as meter:
        framework = framework_of(configuration, framework_class, args.config)
        framework.seed(configuration.seed)
        watch = Stopwatch(framework)
        framework.build(configuration.model, configuration.options)
        framework.load_state(formats.read(args.weights))
        first = {"import": process_age, "build": watch.lap()}
        inline = configuration.but(workers=0)  # no threads, no cache: the cost of preparing data must show
        images, batches = loaders.val_loader(inline, cache_bytes=0), loaders.train_loader(inline, cache_bytes=0)
        latency, still, quiet, batch = measure_inference(framework, images, args.images, args.warmup, first)
        inference_peak = meter.peak()
        counts, macs = parameter_counts(framework.tensors()), framework.macs(batch)
        meter.peak()
        training, moving, calm = measure_training(framework, configuration, batches, args.steps, args.warmup, first)
        training_peak = meter.peak()
    size = configuration.train.batch_size
    return {
        "framework": framework_class.name,
        "setting": args.setting or framework_class.name,
        "versions": framework.versions(),
        "model": configuration.model,
        "variant": configuration.variant,
        "device": configuration.device,
        "threads": configuration.threads,
        "framework_options": configuration.framework_options,
        "host": host(),
        "input": list(batch.images.shape),
        "parameters": counts,
        "weights_bytes": Path(args.weights).stat().st_size,
        "macs": {"value": macs, "rule": MACS_RULE},
        "latency": latency,
        "train": {"batch_size": size, **training},
        "first": {key: round(value, 4) for key, value in first.items()},
        "throughput": {
            "inference_images_per_second": 1 / float(np.median(latency["total"])),
            "train_images_per_second": size / float(np.median(training["step"])),
        },
        "memory": {
            "inference_peak_mb": inference_peak,
            "train_peak_mb": training_peak,
            "device_peak_bytes": framework.device_memory(),
            "meter": METER,
        },
        "machine": {"latency": still, "train": moving},
        "load": {"before": load_before, "after": os.getloadavg()[0]},
        "others": {"latency": quiet, "train": calm},
        "span": [begun, now()],
    }


def measure_inference(
    framework: Framework, data: Loader, images: int, warmup: int, first: dict[str, float]
) -> tuple[dict[str, list[float]], list[float], float, Batch]:
    """Latency samples in seconds by stage, pulses of the machine, cores that others used, and the last batch.

    The validation images are repeated as often as needed.
    """
    samples: dict[str, list[float]] = {"preprocess": [], "forward": [], "postprocess": [], "total": []}
    watch, pulse = Stopwatch(framework), Pulse(framework.threads_in_use())
    pulses, taken, batch, others = [], 0, None, Others()
    while taken < images + warmup:
        watch.lap()
        for batch in data.eval_batches(1):
            prepared = watch.lap(synchronize=False)
            inputs = framework.to_device(batch)
            outputs = framework.forward(inputs)
            forward = watch.lap()
            framework.postprocess(outputs, inputs)
            post = watch.lap(synchronize=False)
            first.setdefault("forward", forward)
            taken += 1
            if taken > warmup:
                stages = {"preprocess": prepared, "forward": forward, "postprocess": post}
                for stage, seconds in {**stages, "total": sum(stages.values())}.items():
                    samples[stage].append(round(seconds, 7))
                if (taken - warmup) % max(1, images // PULSES) == 0:
                    pulses.append(pulse.take())
            if taken == images + warmup:
                break
            if taken == warmup:
                others = Others()  # of the timed series only, without the compilation before it
            watch.lap(synchronize=False)
    return samples, pulses, round(others.cores(), 3), batch


def measure_training(
    framework: Framework, configuration: RunConfig, data: Loader, steps: int, warmup: int, first: dict[str, float]
) -> tuple[dict[str, list[float]], list[float], float]:
    """Seconds per training step: `step` whole, and in another series `data`, `forward_backward`, `optimizer`.

    Also pulses of the machine, one before every step of the first series, and how many cores others used meanwhile.
    """
    settings = configuration.train
    groups = prepare_training(framework, configuration)
    rates = [group.lr for group in groups]
    samples: dict[str, list[float]] = {"data": [], "forward_backward": [], "optimizer": [], "step": []}
    batches = _endless(data)
    watch, pulse, pulses = Stopwatch(framework), Pulse(framework.threads_in_use()), []
    others, busy = Others(), 0.0
    for number in range(1, warmup + 2 * steps + 1):
        split = number > warmup + steps
        if number == warmup + 1:
            others = Others()
        if number > warmup and not split:
            pulses.append(pulse.take())
        watch.lap()
        batch = next(batches)
        waited = watch.lap(synchronize=False)
        framework.forward_backward(batch, Draws(configuration.seed, number), 0)
        passed = watch.lap() if split else 0.0
        framework.optimizer_step(rates, settings.clip_norm, norm=False)
        if settings.ema:
            framework.update_ema(ema_decay(settings.ema, number))
        rest = watch.lap()
        if number <= 2:
            first["step" if number == 1 else "second_step"] = waited + rest
        if split:
            for stage, seconds in (("data", waited), ("forward_backward", passed), ("optimizer", rest)):
                samples[stage].append(round(seconds, 7))
        elif number > warmup:
            samples["step"].append(round(waited + rest, 7))
        if number == warmup + steps:
            busy = round(others.cores(), 3)
    return samples, pulses, busy


def _endless(data: Loader):
    epoch = 1
    while True:
        yield from data.batches(epoch)
        epoch += 1
