"""The training loop, written once for every framework.

Reads top to bottom: set up from the run's configuration, then epochs of steps, evaluation after each, weights and the
manifest at the end. What differs between two runs is behind `Framework`; what is fair or unfair is decided here.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from parity import checkpoint, weights
from parity.data.augment import make_augment
from parity.data.coco import Dataset, open_split
from parity.data.loader import Loader, batch_digest
from parity.data.plan import BatchPlan
from parity.data.transforms import make_preprocess
from parity.draws import Draws
from parity.errors import UserError
from parity.evaluate import evaluate, to_coco
from parity.files import digest, read_json, write_json
from parity.framework import Batch, Detections, Framework, Group, StepResult
from parity.meter import Meter
from parity.progress import Progress
from parity.record import MetricsLog, manifest, now, read_metrics
from parity.schedule import ema_decay, lr_factors
from parity.trace import prepare_training

CACHE_BYTES = 1 << 30  # decoded images kept by each loader


@dataclass
class Position:
    """Where a run stands: `epoch` epochs and `step` optimiser steps are complete."""

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = 0


def load_manifest(run: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run's dataset, whose class count must be the configured one."""
    root = Path(run["data"]["root"])
    about = read_json(root / "manifest.json")
    if len(about["classes"]) != run["data"]["num_classes"]:
        raise UserError(
            f"{root}/manifest.json: has {len(about['classes'])} classes, the configuration says data.num_classes"
            f" {run['data']['num_classes']}"
        )
    return about


def train_loader(run: dict[str, Any], cache_bytes: int = CACHE_BYTES) -> Loader:
    """The training batches of a run: a pure function of its configuration, whatever the number of workers."""
    settings = run["train"]
    dataset = open_split(run["data"]["root"], "train", run["label_space"])
    size, epochs, scales = settings["batch_size"], settings["epochs"], settings["multi_scale"]
    plan = BatchPlan(dataset.ids, size, epochs, run["seed"], sizes=scales)
    preprocess, augment = make_preprocess(run["preprocess"]), make_augment(settings["augment"])
    return Loader(dataset, plan, preprocess, augment, run["seed"], run["workers"], cache_bytes=cache_bytes)


def val_loader(run: dict[str, Any], cache_bytes: int = CACHE_BYTES) -> Loader:
    """The validation images of a run, without augmentation."""
    dataset = open_split(run["data"]["root"], "val", run["label_space"])
    preprocess = make_preprocess(run["preprocess"])
    return Loader(dataset, None, preprocess, workers=run["workers"], cache_bytes=cache_bytes)


def predict(framework: Framework, loader: Loader, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections of every image in COCO results format; `settings` is the run's `evaluate` section."""
    results: list[dict[str, Any]] = []
    for batch in loader.eval_batches(settings["batch_size"]):
        results += coco_results(framework.predict(batch), batch, loader.dataset, settings)
    return results


def coco_results(found: list[Detections], batch: Batch, dataset: Dataset, settings: dict[str, Any]) -> list[dict]:
    """COCO results of one batch, with the run's limit per image and score threshold."""
    limit, threshold = settings["max_detections"], settings["score_threshold"]
    return to_coco(found, batch, dataset.category_of, max_detections=limit, score_threshold=threshold)


def train(run: dict[str, Any], framework: Framework, out: Path) -> dict[str, Any]:
    """Train one run into the folder `out`, continuing from its newest checkpoint; returns the manifest.

    Writes metrics.jsonl, checkpoints/, last, best and ema weights, detections.json, coco.json; run.json last of all.
    """
    out = Path(out)
    settings, seed = run["train"], run["seed"]
    about, data, validation = load_manifest(run), train_loader(run), val_loader(run)
    annotations = Path(run["data"]["root"]) / "annotations/val.json"

    framework.seed(seed)
    framework.build(run["model"], run["options"])
    initial = weights.read(run["weights"])
    framework.load_state(initial)
    groups = prepare_training(framework, run)
    accumulate = settings["accumulate"]
    per_epoch = data.plan.steps_per_epoch // accumulate
    if per_epoch == 0:
        raise UserError(f"train.batch_size x accumulate: {len(data.dataset)} images do not fill one step")
    factors = lr_factors(settings["schedule"], settings["epochs"], per_epoch)
    record = manifest(run, framework, groups, factors, data.plan.digest(), weights.weights_sha256(initial), about)
    del initial

    position = Position()
    resumed = checkpoint.load_newest(out / "checkpoints", _resume_digest(run))
    if resumed:
        checkpoint.restore(framework, resumed[0])
        position = Position(**{key: resumed[1][key] for key in ("epoch", "step", "best", "best_epoch")})
    log = MetricsLog(out / "metrics.jsonl", position.step, position.epoch)
    label = f"[{run['framework']} {run['model']}/{run['variant']} seed {seed}]"
    progress = Progress(label, len(factors), position.step, run["log_seconds"])
    if position.step:
        progress.line(f"continues after epoch {position.epoch}, step {position.step}")
    started = now()

    with Meter() as meter:
        while position.epoch < settings["epochs"]:
            begin = time.perf_counter()
            steps = run_epoch(run, framework, data, groups, factors, position, log, progress)
            trained = time.perf_counter()
            position.epoch += 1
            last_epoch = position.epoch == settings["epochs"]
            scores = None
            if last_epoch or (settings["eval_every"] and position.epoch % settings["eval_every"] == 0):
                with _evaluated_weights(framework, settings):
                    found = predict(framework, validation, run["evaluate"])
                    report = evaluate(annotations, found)
                    scores = report["metrics"]
                    if (scores["AP"] or 0.0) > position.best:
                        position.best, position.best_epoch = scores["AP"] or 0.0, position.epoch
                        weights.write(out / "best.safetensors", framework.state())
                if last_epoch:
                    write_json(out / "detections.json", found, indent=None)
                    write_json(out / "coco.json", report)
            seconds = {"train": round(trained - begin, 3), "evaluate": round(time.perf_counter() - trained, 3)}
            line = _epoch_line(steps, position.epoch, scores, seconds, meter.peak())
            log.write(line)
            progress.line(_epoch_text(line, settings["epochs"]))
            state = vars(position) | {"config_digest": _resume_digest(run)}
            checkpoint.save(out / "checkpoints", framework, state, bool(settings["ema"]))
    progress.close()
    log.close()

    weights.write(out / "last.safetensors", framework.state())
    if settings["ema"]:
        weights.write(out / "ema.safetensors", framework.ema_state())
    epochs = [line for line in read_metrics(out / "metrics.jsonl") if line["kind"] == "epoch"]
    record |= {
        "batches_sha256": [batch_digest(batch) for batch in islice(data.batches(1), 3)],
        "final_weights": "ema.safetensors" if settings["ema"] and settings["evaluate_with_ema"] else "last.safetensors",
        "best_epoch": position.best_epoch,
        "started": started,
        "finished": now(),
        "seconds": round(sum(line["seconds"]["train"] + line["seconds"]["evaluate"] for line in epochs), 3),
        "peak_memory_mb": max(line["peak_memory_mb"] for line in epochs),
        "device_memory_mb": _megabytes(framework.device_memory()),
    }
    write_json(out / "run.json", record)
    return record


def run_epoch(
    run: dict[str, Any],
    framework: Framework,
    data: Loader,
    groups: list[Group],
    factors: np.ndarray,
    position: Position,
    log: MetricsLog,
    progress: Progress,
    limit: int | None = None,
) -> list[StepResult]:
    """One epoch of optimiser steps, each made of `accumulate` batches; advances `position.step`.

    `limit` ends it after so many steps.
    """
    settings, steps = run["train"], []
    accumulate, epoch = settings["accumulate"], position.epoch
    batches = data.batches(epoch + 1)
    count = data.plan.steps_per_epoch // accumulate
    for _ in range(count if limit is None else min(count, limit)):
        begin = time.perf_counter()
        waited = passed = 0.0
        images, results = 0, []
        for part in range(accumulate):
            before = time.perf_counter()
            batch = next(batches)
            after = time.perf_counter()
            draws = Draws(run["seed"], position.step, part)
            results.append(framework.forward_backward(batch, draws, epoch, 1.0 / accumulate))
            passed += time.perf_counter() - after
            waited += after - before
            images += len(batch.images)
        total = float(np.mean([result.total for result in results]))
        if not np.isfinite(total):
            ids = [int(i) for i in batch.image_ids]
            raise UserError(f"loss is {total} at epoch {epoch + 1}, step {position.step + 1}, images {ids}")
        rates = [group.lr * factors[position.step] for group in groups]
        updating = time.perf_counter()
        norm, clip = framework.optimizer_step(rates, settings["clip_norm"])
        position.step += 1
        if settings["ema"]:
            framework.update_ema(ema_decay(settings["ema"], position.step))
        end = time.perf_counter()
        seconds = {"data": waited, "forward_backward": passed, "optimizer": end - updating, "step": end - begin}
        losses = {name: float(np.mean([r.losses[name] for r in results])) for name in results[0].losses}
        steps.append(StepResult(losses, total))
        log.write(
            {
                "kind": "step",
                "epoch": epoch + 1,
                "step": position.step,
                "total": total,
                "losses": losses,
                "lr": rates,
                "grad_norm": norm,
                "clip": clip,
                "seconds": {key: round(value, 6) for key, value in seconds.items()},
                "images": images,
            }
        )
        progress.step(epoch + 1, total, max(rates), waited, end - begin)
    return steps


def _resume_digest(run: dict[str, Any]) -> str:
    """Of everything that a continued run must share with the checkpoint; the framework is not part of it."""
    keys = ("model", "variant", "options", "groups", "label_space", "preprocess", "train", "seed", "precision")
    return digest({key: run[key] for key in keys} | {"data": run["data"]["id"]})


def _evaluated_weights(framework: Framework, settings: dict[str, Any]):
    """EMA weights where the model is evaluated with them, its own otherwise."""
    return framework.ema_weights() if settings["ema"] and settings["evaluate_with_ema"] else nullcontext()


def _epoch_line(
    steps: list[StepResult], epoch: int, scores: dict | None, seconds: dict[str, float], peak: float
) -> dict[str, Any]:
    names = sorted({name for step in steps for name in step.losses})
    return {
        "kind": "epoch",
        "epoch": epoch,
        "steps": len(steps),
        "total": float(np.mean([step.total for step in steps])),
        "losses": {n: float(np.mean([s.losses[n] for s in steps if n in s.losses])) for n in names},
        "metrics": scores,
        "seconds": seconds,
        "peak_memory_mb": peak,
    }


def _epoch_text(line: dict[str, Any], epochs: int) -> str:
    text = f"epoch {line['epoch']}/{epochs}: loss {line['total']:.4f}"
    if line["metrics"]:
        text += "".join(f", {name} {line['metrics'][name] or 0.0:.4f}" for name in ("AP", "AP50", "AP75"))
    seconds = line["seconds"]
    return (
        text + f", {seconds['train']:.1f} s + {seconds['evaluate']:.1f} s, peak memory {line['peak_memory_mb']:.0f} MB"
    )


def _megabytes(value: int | None) -> float | None:
    return None if value is None else round(value / 1e6, 1)
