"""The verb `probe`: everything that one framework computes for the alignment ladder, from files alone.

Two frameworks never meet in one process, so each writes a folder, and `parity.align` compares the folders:

    probe.json         configuration, digests, state after loading, loss of every step of the trajectory, AP
    batches.npz        batches as this process prepared them
    eval.npz           layers with their inputs, raw outputs and detections of validation images, at shaken weights
    train.npz          losses, matches, gradients and optimiser steps on training batches, likewise; learning rates
    states.npz         (first framework only) weights, moments and averages before each of those steps but the first
    trajectory.jsonl   the lines of the engine over the first steps of training
    shadow.jsonl       (first framework only) the same after the last bit of every weight was changed
    final.safetensors  weights at the end of it; the second framework evaluates those of the first
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from parity import engine, trace, weights
from parity.align.files import Arrays, save_arrays
from parity.align.queries import SCORES
from parity.align.shake import shake
from parity.config import load_run
from parity.data.loader import Loader, batch_digest
from parity.draws import Draws
from parity.evaluate import evaluate
from parity.files import write_json
from parity.framework import Batch, Framework, Group
from parity.progress import Progress
from parity.record import MetricsLog, group_record, parameter_counts, read_metrics
from parity.schedule import ema_decay, lr_factors
from parity.train import framework_of

OWN_KEYS = ("framework", "framework_options", "weights", "workers", "log_seconds")  # may differ between frameworks
BATCHES = 3  # training batches that are compared; one more step would repeat the same code
COUNTER = "num_batches_tracked"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="The initial weights, the same for every framework.")
    parser.add_argument("--out", required=True, help="Folder to write.")
    parser.add_argument(
        "--reference", help="Folder of the first framework's probe, whose recorded inputs are fed to every module."
    )
    parser.add_argument("--images", type=int, default=2, help="Validation images that are followed layer by layer.")
    parser.add_argument("--steps", type=int, default=3, help="Optimiser steps, each from the first framework's state.")
    parser.add_argument(
        "--trajectory", type=int, default=100, help="Steps of real training, after which AP is measured; 0 leaves both."
    )


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. probe.json is written last."""
    settings = load_run(args.config)
    out, reference = Path(args.out), Path(args.reference) if args.reference else None
    framework = framework_of(settings, framework_class, args.config)
    (out / "probe.json").unlink(missing_ok=True)  # an earlier one must not vouch for what is written from here on
    data, validation = engine.train_loader(settings), engine.val_loader(settings)
    images = validation.eval_batch(validation.dataset.ids[: args.images])
    batches = list(islice(data.batches(1), max(BATCHES, args.steps)))
    save_arrays(out / "batches.npz", _batch_arrays([images, *batches]))

    framework.seed(settings["seed"])
    framework.build(settings["model"], settings["options"])
    initial = weights.read(args.weights)
    about: dict[str, Any] = {
        "framework": framework.name,
        "versions": framework.versions(),
        "model": settings["model"],
        "variant": settings["variant"],
        "config": {key: value for key, value in settings.items() if key not in OWN_KEYS},
        "own_config": {key: settings[key] for key in ("framework_options", "workers")},
        "settings": {"images": args.images, "steps": args.steps, "trajectory": args.trajectory},
        "tensors": {info.name: f"{info.kind} {list(info.shape)}" for info in framework.tensors()},
        "parameters": parameter_counts(framework.tensors()),
        "dataset_digest": engine.load_manifest(settings)["digest"],
        "plan_digest": data.plan.digest(),
        "batches_sha256": [batch_digest(batch) for batch in [images, *batches]],
        "weights": check_loading(framework, initial),
    }
    shaken = shake(initial, settings["seed"])
    about["shaken_sha256"] = weights.weights_sha256(shaken)
    framework.load_state(shaken)
    feed = Arrays(reference / "eval.npz").part("layer/") if reference else None
    arrays = trace.trace_eval(framework, images, layers=True, inputs=True, feed=feed)
    save_arrays(out / "eval.npz", arrays)
    del arrays, feed

    factors = learning_rates(settings, data)
    arrays, groups = probe_steps(framework, settings, batches[: args.steps], shaken, out, reference)
    about["groups"] = group_record(groups)
    arrays["lr"] = factors[:, None] * np.array([group.lr for group in groups])
    save_arrays(out / "train.npz", arrays)
    del arrays

    if args.trajectory:
        lines = run_trajectory(framework, settings, data, factors, args.trajectory, initial, out / "trajectory.jsonl")
        about["trajectory"] = {key: [line[key] for line in lines] for key in ("total", "grad_norm", "clip")}
        if reference is None:
            averaged = settings["train"]["ema"] and settings["train"]["evaluate_with_ema"]
            weights.write(out / "final.safetensors", framework.ema_state() if averaged else framework.state())
        about["evaluation"] = same_weights(framework, settings, validation, reference or out)
        if reference is None:
            moved = last_bits(initial, settings["seed"])
            lines = run_trajectory(framework, settings, data, factors, args.trajectory, moved, out / "shadow.jsonl")
            about["shadow"] = {"total": [line["total"] for line in lines]}
    write_json(out / "probe.json", about)


def _batch_arrays(batches: list[Batch]) -> dict[str, np.ndarray]:
    """Every array of every batch as `<number>/<name>`; number 0 are the validation images."""
    return {f"{i}/{key}": value for i, batch in enumerate(batches) for key, value in vars(batch).items()}


def check_loading(framework: Framework, initial: dict[str, np.ndarray]) -> dict[str, Any]:
    """Load the weights, read them back; the same once more by way of a `.pkl` file. Every bit must survive."""
    framework.load_state(initial)
    loaded = framework.state()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pkl"
        weights.write(file, loaded)
        framework.load_state(weights.read(file))
    again = framework.state()

    def unequal(arrays: dict[str, np.ndarray]) -> list[str]:
        bits = {name: np.asarray(array).tobytes() for name, array in arrays.items()}
        names = sorted(set(initial) | set(arrays))
        return [n for n in names if n not in initial or bits.get(n) != np.asarray(initial[n]).tobytes()]

    return {
        "tensors": len(initial),
        "file_sha256": weights.weights_sha256(initial),
        "state_sha256": weights.weights_sha256(loaded),
        "pkl_sha256": weights.weights_sha256(again),
        "changed_by_loading": unequal(loaded),
        "changed_by_pkl": unequal(again),
    }


def probe_steps(
    framework: Framework,
    settings: dict[str, Any],
    batches: list[Batch],
    start: dict[str, np.ndarray],
    out: Path,
    reference: Path | None,
) -> tuple[dict[str, np.ndarray], list[Group]]:
    """One optimiser step on each batch. Returns the arrays of train.npz and the parameter groups.

    The first framework goes on from its own state and keeps it; the second begins every step from the first one's
    weights, moments and average. So each step is compared by itself, and rounding cannot build up between them: Adam
    makes it grow to percents in three steps, because it moves a parameter whose gradient is only rounding as far as
    any other.

    Of the first step: `loss/<name>`, `total`, outputs and matches as in `trace`. Of step k: `step<k>/grad/<name>`,
    `step<k>/delta/<name>`, the change of a parameter, and `step<k>/buffer/<name>`; `ema_delta/<name>` of the last;
    `step_total`, `step_grad_norm` and `step_clip` [K].
    """
    train = settings["train"]
    groups = trace.prepare_training(framework, settings)
    kinds = {info.name: info.kind for info in framework.tensors() if COUNTER not in info.name}
    states = Arrays(reference / "states.npz") if reference else None
    kept: dict[str, np.ndarray] = {}
    arrays: dict[str, np.ndarray] = {}
    numbers: dict[str, list[float]] = {"step_total": [], "step_grad_norm": [], "step_clip": []}
    framework.load_state(start)
    if train["ema"]:
        framework.start_ema()
    for k, batch in enumerate(batches):
        if k and states is not None:
            framework.load_state(states.part(f"{k}/state/"))
            framework.load_optimizer_state(states.part(f"{k}/moments/"))
            if train["ema"]:
                framework.load_ema(states.part(f"{k}/ema/"))
        before, average = framework.state(), framework.ema_state() if train["ema"] else {}
        if k and states is None:
            kept |= {f"{k}/state/{name}": value for name, value in before.items()}
            kept |= {f"{k}/moments/{name}": value for name, value in framework.optimizer_state().items()}
            kept |= {f"{k}/ema/{name}": value for name, value in average.items()}
        draws = Draws(settings["seed"], k, 0)
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
        norm, clip = framework.optimizer_step([group.lr for group in groups], train["clip_norm"])
        for name, value in zip(numbers, (result.total, norm, clip), strict=True):
            numbers[name].append(value)
        after = framework.state()
        arrays |= _changes(f"step{k}/delta", before, after, kinds)
        arrays |= {f"step{k}/buffer/{name}": after[name] for name, kind in kinds.items() if kind == "buffer"}
        if train["ema"]:
            framework.update_ema(ema_decay(train["ema"], k + 1))
            if k == len(batches) - 1:
                arrays |= _changes("ema_delta", average, framework.ema_state(), kinds)
    if states is None:
        save_arrays(out / "states.npz", kept)
    return arrays | {name: np.array(values, np.float64) for name, values in numbers.items()}, groups


def _changes(
    prefix: str, before: dict[str, np.ndarray], after: dict[str, np.ndarray], kinds: dict[str, str]
) -> dict[str, np.ndarray]:
    """after - before of every parameter, float32."""
    names = [name for name, kind in kinds.items() if kind != "buffer"]
    return {f"{prefix}/{n}": (after[n].astype(np.float64) - before[n]).astype(np.float32) for n in names}


def learning_rates(settings: dict[str, Any], data: Loader) -> np.ndarray:
    """Factors [steps of the whole run] that the engine multiplies every group's learning rate by."""
    train = settings["train"]
    return lr_factors(train["schedule"], train["epochs"], data.plan.steps_per_epoch // train["accumulate"])


def last_bits(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Every floating value moved to the next one that its type can hold, up or down at random."""
    rng = np.random.default_rng(seed)
    towards = (-np.inf, np.inf)
    return {
        name: np.nextafter(a, np.asarray(rng.choice(towards, a.shape), a.dtype)) if a.dtype.kind == "f" else a
        for name, a in arrays.items()
    }


def run_trajectory(
    framework: Framework,
    settings: dict[str, Any],
    data: Loader,
    factors: np.ndarray,
    steps: int,
    start: dict[str, np.ndarray],
    file: Path,
) -> list[dict[str, Any]]:
    """The first `steps` steps of the run, by the engine itself, from the weights `start`; returns the lines of `file`.

    The model and its average are left as they are after the last step.
    """
    framework.seed(settings["seed"])
    framework.build(settings["model"], settings["options"])
    framework.load_state(start)
    groups = trace.prepare_training(framework, settings)
    log, position = MetricsLog(file), engine.Position()
    steps = min(steps, len(factors))
    progress = Progress(f"[{framework.name} probe, {file.stem}]", steps, 0, settings["log_seconds"])
    while position.step < steps:
        left = steps - position.step
        engine.run_epoch(settings, framework, data, groups, factors, position, log, progress, limit=left)
        position.epoch += 1
    progress.close()
    log.close()
    return read_metrics(file)


def same_weights(framework: Framework, settings: dict[str, Any], validation: Loader, folder: Path) -> dict[str, Any]:
    """AP on the validation images with the weights that the first framework's trajectory in `folder` ended with."""
    final = weights.read(folder / "final.safetensors")
    framework.load_state(final)
    found = engine.predict(framework, validation, settings["evaluate"])
    report = evaluate(Path(settings["data"]["root"]) / "annotations/val.json", found)
    return {"weights_sha256": weights.weights_sha256(final), "images": report["images"], "metrics": report["metrics"]}
