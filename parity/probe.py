"""The verb `probe`: everything that one framework computes for the alignment ladder, from files alone.

Two frameworks never meet in one process, so each writes a folder, and `parity.align` compares the folders:

    probe.json         configuration, digests, state after loading, loss of every step of the trajectory, AP
    batches.npz        batches as this process prepared them
    eval.npz           layers with their inputs, raw outputs and detections of validation images, at shaken weights
    train.npz          losses, matches, gradients and optimiser steps on one training batch, likewise; learning rates
    trajectory.jsonl   the lines of the engine over the first steps of training
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
from parity.framework import Batch, Framework
from parity.progress import Progress
from parity.record import MetricsLog, group_record, parameter_counts, read_metrics
from parity.schedule import lr_factors
from parity.train import framework_of

OWN_KEYS = ("framework", "framework_options", "weights", "workers", "log_seconds")  # may differ between frameworks
BATCHES = 3  # training batches that are compared; one more step would repeat the same code
# Of the learning rates, for the optimiser steps on one batch. Every formula stays in use, but the steps are too short to
# jump over the next kink of the loss (another match, another pixel), after which rounding would decide what follows.
LR_FACTOR = 0.1
COUNTER = "num_batches_tracked"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="The initial weights, the same for every framework.")
    parser.add_argument("--out", required=True, help="Folder to write.")
    parser.add_argument(
        "--reference", help="Folder of the first framework's probe, whose recorded inputs are fed to every module."
    )
    parser.add_argument("--images", type=int, default=2, help="Validation images that are followed layer by layer.")
    parser.add_argument("--steps", type=int, default=3, help="Optimiser steps on one training batch.")
    parser.add_argument(
        "--trajectory", type=int, default=100, help="Steps of real training, after which AP is measured; 0 leaves both."
    )


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. probe.json is written last."""
    settings = load_run(args.config)
    out, reference = Path(args.out), Path(args.reference) if args.reference else None
    framework = framework_of(settings, framework_class, args.config)
    data, validation = engine.train_loader(settings), engine.val_loader(settings)
    images = validation.eval_batch(validation.dataset.ids[: args.images])
    batches = list(islice(data.batches(1), BATCHES))
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

    arrays = probe_training(framework, settings, batches[0], shaken, args.steps)
    factors = learning_rates(settings, data)
    groups = trace.prepare_training(framework, settings)
    about["groups"] = group_record(groups)
    arrays["lr"] = factors[:, None] * np.array([group.lr for group in groups])
    save_arrays(out / "train.npz", arrays)
    del arrays

    if args.trajectory:
        framework.seed(settings["seed"])
        framework.build(settings["model"], settings["options"])
        framework.load_state(initial)
        about["trajectory"] = run_trajectory(framework, settings, data, factors, args.trajectory, out)
        about["evaluation"] = same_weights(framework, settings, validation, reference or out)
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


class _PlanDraws:
    """Random draws as the engine makes them: a generator for each step."""

    def __init__(self, seed: int):
        self.seed, self.step = seed, -1

    def next(self) -> Draws:
        self.step += 1
        return Draws(self.seed, self.step, 0)


def probe_training(
    framework: Framework, settings: dict[str, Any], batch: Batch, initial: dict[str, np.ndarray], steps: int
) -> dict[str, np.ndarray]:
    """`trace_train` on one batch, and what the steps changed.

    `delta/<name>` and `ema_delta/<name>` float32: change of every parameter and of its average after the steps;
    `buffer/<name>`: BatchNorm statistics, which the forward pass after the last step has moved once more.
    """
    draws = _PlanDraws(settings["seed"])
    arrays = trace.trace_train(
        framework, settings, batch, draws, 0, steps, full_gradients=True, layers=True, lr_factor=LR_FACTOR
    )
    arrays = {name: a for name, a in arrays.items() if not name.startswith("layer/") or name == f"layer/{SCORES}"}
    kinds = {info.name: info.kind for info in framework.tensors() if COUNTER not in info.name}

    def changes(prefix: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [name for name, kind in kinds.items() if kind != "buffer"]
        return {f"{prefix}/{n}": (state[n].astype(np.float64) - initial[n]).astype(np.float32) for n in names}

    state = framework.state()
    arrays |= changes("delta", state)
    arrays |= {f"buffer/{name}": state[name] for name, kind in kinds.items() if kind == "buffer"}
    return arrays | (changes("ema_delta", framework.ema_state()) if settings["train"]["ema"] else {})


def learning_rates(settings: dict[str, Any], data: Loader) -> np.ndarray:
    """Factors [steps of the whole run] that the engine multiplies every group's learning rate by."""
    train = settings["train"]
    return lr_factors(train["schedule"], train["epochs"], data.plan.steps_per_epoch // train["accumulate"])


def run_trajectory(
    framework: Framework, settings: dict[str, Any], data: Loader, factors: np.ndarray, steps: int, out: Path
) -> dict[str, Any]:
    """The first `steps` steps of the run, by the engine itself; leaves the final weights in `out` and in the model."""
    groups = trace.prepare_training(framework, settings)
    log, position = MetricsLog(out / "trajectory.jsonl"), engine.Position()
    steps = min(steps, len(factors))
    progress = Progress(f"[{framework.name} probe, training]", steps, 0, settings["log_seconds"])
    while position.step < steps:
        left = steps - position.step
        engine.run_epoch(settings, framework, data, groups, factors, position, log, progress, limit=left)
        position.epoch += 1
    progress.close()
    log.close()
    train = settings["train"]
    averaged = train["ema"] and train["evaluate_with_ema"]
    weights.write(out / "final.safetensors", framework.ema_state() if averaged else framework.state())
    lines = read_metrics(out / "trajectory.jsonl")
    return {key: [line[key] for line in lines] for key in ("total", "grad_norm", "clip")}


def same_weights(framework: Framework, settings: dict[str, Any], validation: Loader, folder: Path) -> dict[str, Any]:
    """AP on the validation images with the weights that the first framework's trajectory in `folder` ended with."""
    final = weights.read(folder / "final.safetensors")
    framework.load_state(final)
    found = engine.predict(framework, validation, settings["evaluate"])
    report = evaluate(Path(settings["data"]["root"]) / "annotations/val.json", found)
    return {"weights_sha256": weights.weights_sha256(final), "images": report["images"], "metrics": report["metrics"]}
