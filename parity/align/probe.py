"""The verb `probe`: everything that one framework computes for the alignment ladder, from files alone.

Two frameworks never meet in one process, so each writes a folder, and `parity.align` compares the folders:

    probe.json         configuration, digests, state after loading, loss of every step of the trajectory, AP
    batches.npz        batches as this process prepared them
    eval.npz           layers with their inputs, raw outputs and detections of validation images, at shaken weights
    train.npz          losses, matches, gradients and optimiser steps on training batches, likewise; learning rates
    trajectory.jsonl   the lines of the engine over the first steps of training
    final.npz          detections of the validation images with the first framework's weights after those steps
    average.npz        outputs for the validation images with the average after the last step of train.npz, or empty
    anchors.npz        losses, gradients and updates of some of those steps, each from the first framework's state

The first framework, which the others are compared with, also writes

    states.npz         weights, moments and averages before each step of train.npz but the first
    anchor_states.npz  weights and moments before some steps of the trajectory
    final.safetensors  weights at the end of it, which every framework evaluates
    nudged*.npz        gradients again after the last bit of every weight was changed, three times in different ways,
    nudged*_anchors.npz
                       anchors.npz again, likewise,
    referee.npz        and raw outputs, gradients and, under train/, losses and outputs of training mode in float64: how
                       far rounding moves this framework from itself; empty where it offers no float64
    shadow.jsonl       the trajectory from weights whose last bits were changed
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from parity.align import trace
from parity.align.files import NUDGED, NUDGED_ANCHORS, SCORES, TRAIN, Arrays, names, save_arrays
from parity.align.shake import shake
from parity.align.steps import last_bits, record_decay, record_gradients, record_steps, steps_of_run
from parity.align.trajectory import ANCHORS, from_anchors, run_trajectory
from parity.arrays import growing
from parity.config.run import MACHINE_KEYS, RunConfig, load_run
from parity.data.loader import Loader, batch_digest
from parity.files import write_json
from parity.framework import Batch, Framework
from parity.train import loaders, validate
from parity.train.evaluate import evaluate
from parity.train.given import framework_of
from parity.train.prepare import refuse_lone_values
from parity.train.record import group_record, parameter_counts
from parity.train.schedule import lr_factors
from parity.train.states import anchor_steps, spread
from parity.weights import formats

OWN_KEYS = ("framework", "framework_options", "weights", *MACHINE_KEYS)  # may differ between frameworks
BATCHES = 3  # first batches of the run that are prepared and compared, beside those of the optimiser steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="The initial weights, the same for every framework.")
    parser.add_argument("--out", required=True, help="Folder to write.")
    parser.add_argument(
        "--reference", help="Folder of the first framework's probe, whose recorded inputs are fed to every module."
    )
    parser.add_argument("--images", type=int, default=2, help="Validation images that are followed layer by layer.")
    parser.add_argument("--steps", type=int, default=5, help="Optimiser steps, each from the first framework's state.")
    parser.add_argument(
        "--trajectory", type=int, default=100, help="Steps of real training, after which AP is measured; 0: neither."
    )


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. probe.json is written last."""
    settings = load_run(args.config)
    out, reference = Path(args.out), Path(args.reference) if args.reference else None
    framework = framework_of(settings, framework_class, args.config)
    for name in names(reference=True, trajectory=True):  # an earlier file must not pass for the result of this call
        (out / name).unlink(missing_ok=True)
    data, validation = loaders.train_loader(settings), loaders.val_loader(settings)
    images = validation.eval_batch(validation.dataset.ids[: args.images])
    factors = learning_rates(settings, data)
    steps = steps_of_run(settings, data, factors, spread(len(factors), args.steps))
    batches = [*islice(data.batches(1), BATCHES), *(step.batch for step in steps)]
    save_arrays(out / "batches.npz", _batch_arrays([images, *batches]))

    framework.seed(settings.seed)
    framework.build(settings.model, settings.options)
    refuse_lone_values(framework, settings)
    initial = formats.read(args.weights)
    about: dict[str, Any] = {
        "framework": framework.name,
        "versions": framework.versions(),
        "model": settings.model,
        "variant": settings.variant,
        "config": {key: value for key, value in settings.plain().items() if key not in OWN_KEYS},
        "own_config": {"framework_options": settings.framework_options, "workers": settings.workers},
        "settings": {"images": args.images, "steps": len(steps), "trajectory": args.trajectory},
        "steps": [{"step": step.number, "epoch": step.epoch + 1} for step in steps],
        "tensors": {info.name: f"{info.kind} {list(info.shape)}" for info in framework.tensors()},
        "parameters": parameter_counts(framework.tensors()),
        "dataset_digest": loaders.load_manifest(settings)["digest"],
        "plan_digest": data.plan.digest(),
        "batches_sha256": [batch_digest(batch) for batch in [images, *batches]],
        "weights": check_loading(framework, initial),
    }
    shaken = shake(initial, settings.seed)
    about["shaken_sha256"] = formats.weights_sha256(shaken)
    framework.load_state(shaken)
    feed = Arrays(reference / "eval.npz").part("layer/") if reference else None
    arrays = trace.trace_eval(framework, images, layers=True, inputs=True, feed=feed)
    save_arrays(out / "eval.npz", arrays)
    del arrays, feed

    given = tuple(Arrays(reference / f"{name}.npz") for name in ("states", "train")) if reference else None
    arrays, groups, passed = record_steps(framework, settings, steps, shaken, given)
    about["groups"] = group_record(groups)
    save_arrays(out / "average.npz", with_average(framework, images) if settings.train.ema else {})
    arrays |= record_decay(framework, settings, groups, shaken, given[1] if given else arrays)
    arrays["lr"] = factors[:, None] * np.array([group.lr for group in groups])
    save_arrays(out / "train.npz", arrays)
    if reference is None:
        save_arrays(out / "states.npz", passed)
        states = Arrays(out / "states.npz")
        for i, name in enumerate(NUDGED):
            other = last_bits(settings.seed + i)
            save_arrays(out / f"{name}.npz", record_gradients(framework, settings, steps, shaken, states, other))
        referee = referee_of(settings, framework_class)
        doubled = {}
        if referee is not None:
            referee.load_state(shaken)
            doubled = outputs_of(referee, images)
            doubled |= record_gradients(referee, settings, steps, shaken, states, losses=TRAIN)
        save_arrays(out / "referee.npz", doubled)
        del referee, doubled
    del arrays, passed

    if args.trajectory:
        count, file = min(args.trajectory, len(factors)), out / "trajectory.jsonl"
        run = (framework, settings, data, factors, count)
        if reference is None:
            with growing(out / "anchor_states.npz") as keep:
                lines, rates = run_trajectory(*run, initial, file, anchor_steps(count, ANCHORS), keep)
        else:
            lines, rates = run_trajectory(*run, initial, file)
        about["trajectory"] = {key: [line[key] for line in lines] for key in ("total", "grad_norm", "clip")}
        about["trajectory"]["lr"] = rates.tolist()
        if reference is None:
            averaged = settings.train.judged_by_ema
            formats.write(out / "final.safetensors", framework.ema_state() if averaged else framework.state())
        about["evaluation"] = same_weights(framework, settings, validation, reference or out)
        save_arrays(out / "final.npz", trace.detections(framework.predict(images)))
        anchors = Arrays((reference or out) / "anchor_states.npz")
        save_arrays(out / "anchors.npz", from_anchors(framework, settings, data, factors, anchors))
        if reference is None:
            for i, name in enumerate(NUDGED_ANCHORS):
                other = last_bits(settings.seed + i)
                save_arrays(out / f"{name}.npz", from_anchors(framework, settings, data, factors, anchors, other))
            lines, _ = run_trajectory(*run, last_bits(settings.seed)(initial), out / "shadow.jsonl")
            about["shadow"] = {"total": [line["total"] for line in lines]}
    write_json(out / "probe.json", about)


def _batch_arrays(batches: list[Batch]) -> dict[str, np.ndarray]:
    """Every array of every batch as `<number>/<name>`; number 0 are the validation images."""
    return {f"{i}/{key}": value for i, batch in enumerate(batches) for key, value in vars(batch).items()}


def with_average(framework: Framework, images: Batch) -> dict[str, np.ndarray]:
    """Raw outputs and detections while the model carries its average, and the scores that queries are picked by."""
    with framework.ema_weights():
        return outputs_of(framework, images)


def outputs_of(framework: Framework, images: Batch) -> dict[str, np.ndarray]:
    """Raw outputs and detections, and the scores that queries are picked by."""
    arrays = trace.trace_eval(framework, images, layers=True)
    return {n: a for n, a in arrays.items() if not n.startswith("layer/") or n == f"layer/{SCORES}"}


def check_loading(framework: Framework, initial: dict[str, np.ndarray]) -> dict[str, Any]:
    """Load the weights and read them back, then do the same through a `.pkl` file. Every bit must survive."""
    framework.load_state(initial)
    loaded = framework.state()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pkl"
        formats.write(file, loaded)
        framework.load_state(formats.read(file))
    again = framework.state()

    def unequal(arrays: dict[str, np.ndarray]) -> list[str]:
        bits = {name: np.asarray(array).tobytes() for name, array in arrays.items()}
        names = sorted(set(initial) | set(arrays))
        return [n for n in names if n not in initial or bits.get(n) != np.asarray(initial[n]).tobytes()]

    return {
        "tensors": len(initial),
        "file_sha256": formats.weights_sha256(initial),
        "state_sha256": formats.weights_sha256(loaded),
        "pkl_sha256": formats.weights_sha256(again),
        "changed_by_loading": unequal(loaded),
        "changed_by_pkl": unequal(again),
    }


def referee_of(settings: RunConfig, framework_class: type[Framework]) -> Framework | None:
    """The same model in float64, None where the framework does not offer that."""
    if "float64" not in framework_class.dtypes:
        return None
    options = {**settings.framework_options, "dtype": "float64"}
    referee = framework_class(settings.device, settings.threads, options)
    referee.build(settings.model, settings.options)
    return referee


def learning_rates(settings: RunConfig, data: Loader) -> np.ndarray:
    """Factors [steps of the whole run] that the engine multiplies every group's learning rate by."""
    train = settings.train
    return lr_factors(train.schedule, train.epochs, data.plan.steps_per_epoch // train.accumulate)


def same_weights(framework: Framework, settings: RunConfig, validation: Loader, folder: Path) -> dict[str, Any]:
    """AP on the validation images with the weights that the first framework's trajectory in `folder` ended with."""
    final = formats.read(folder / "final.safetensors")
    framework.load_state(final)
    found = validate.predict(framework, validation, settings.evaluate)
    report = evaluate(Path(settings.data.root) / "annotations/val.json", found)
    return {"weights_sha256": formats.weights_sha256(final), "images": report["images"], "metrics": report["metrics"]}
