"""The training loop, written once for every framework.

Reads top to bottom: set up from the run's configuration, then epochs of steps, evaluation after each, weights and the
manifest at the end. What differs between two runs is behind `Framework`; what is fair or unfair is decided here.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parity.config.run import RunConfig
from parity.config.section import Plain
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.errors import UserError
from parity.files import locked, sweep, write_json
from parity.framework import Batch, Framework, Group, StepResult
from parity.train import checkpoint, observe, trouble
from parity.train.board import Board
from parity.train.checkpoint import Position
from parity.train.loaders import load_manifest, train_loader, val_loader
from parity.train.meter import Meter
from parity.train.prepare import prepare_training, refuse_lone_values
from parity.train.progress import Progress
from parity.train.record import EpochLine, MetricsLog, RunManifest, manifest, now, read_metrics
from parity.train.schedule import ema_decay, lr_factors
from parity.train.states import Keeper
from parity.train.validate import evaluated_weights, validate
from parity.weights import formats


def train(run: RunConfig, framework: Framework, out: Path) -> RunManifest:
    """Train one run into the folder `out`, continuing from its newest checkpoint; returns the manifest.

    Writes metrics.jsonl, checkpoints/, last, best and ema weights, detections.json, coco.json, states.npz; tensorboard/
    where it is asked for; run.json last of all. Whenever it is killed, the same call ends with the same files (times
    apart). Raises UserError when another process trains into `out`.
    """
    out = Path(out)
    with locked(out):
        for folder in (out, out / "checkpoints", out / "tensorboard"):
            sweep(folder)
        return _train(run, framework, out)


def _train(run: RunConfig, framework: Framework, out: Path) -> RunManifest:
    settings, seed = run.train, run.seed
    about, data, validation = load_manifest(run), train_loader(run), val_loader(run)

    framework.seed(seed)
    framework.build(run.model, run.options)
    initial = formats.read(run.weights)
    framework.load_state(initial)
    refuse_lone_values(framework, run)
    loaded, sources = observe.loaded(framework), observe.code()
    groups = prepare_training(framework, run)
    per_epoch = data.plan.steps_per_epoch // settings.accumulate
    if per_epoch == 0:
        raise UserError(f"train.batch_size x accumulate: {len(data.dataset)} images do not fill one step")
    factors = lr_factors(settings.schedule, settings.epochs, per_epoch)
    record = manifest(run, framework, groups, factors, data.plan.digest(), formats.weights_sha256(initial), about)
    del initial

    label = f"[{run.framework} {run.model}/{run.variant} seed {seed}]"
    progress = Progress(label, len(factors), 0, run.log_seconds)
    position = _start(run, framework, out, factors, progress)
    origin = position.origin or {"step": 0, "epoch": 0}
    board = None
    if settings.tensorboard:
        board = Board(out / "tensorboard", validation.dataset, position.step, position.epoch, progress.line)
    log = MetricsLog(out / "metrics.jsonl", position.step, position.epoch, origin["step"], origin["epoch"], board)
    states = Keeper(out, framework, len(factors), run.keep_states)
    save = _Saver(run, framework, out / "checkpoints", factors, position, log, states)
    started, found, report = now(), None, None

    with Meter() as meter:
        if settings.evaluate_first and position.step == 0:
            _evaluate_first(run, framework, validation, position, log, progress, meter, out)
        states.when_due(position.step)
        while position.epoch < settings.epochs:
            run_epoch(run, framework, data, groups, factors, position, log, progress, after_step=save.when_due)
            begin, epoch = time.perf_counter(), position.epoch + 1
            scores, last_epoch = None, epoch == settings.epochs
            if last_epoch or (settings.eval_every and epoch % settings.eval_every == 0):
                found, report = validate(run, framework, validation, position.notes)
                scores = report["metrics"]
                _keep_best(run, framework, position, scores, epoch, out)
            line = _epoch_line(position, scores, time.perf_counter() - begin, meter.peak())
            log.write(line)
            if log.board and scores:
                log.board.detections(found)
            progress.line(_epoch_text(line, settings.epochs))
            position.next_epoch()
            save()
    progress.close()
    log.close()

    if found is None:  # it was killed after its last checkpoint
        found, report = validate(run, framework, validation, position.notes)
    write_json(out / "detections.json", found, indent=None)
    write_json(out / "coco.json", report)
    formats.write(out / "last.safetensors", framework.state())
    if settings.ema:
        formats.write(out / "ema.safetensors", framework.ema_state())
    states.finish()
    epochs = [line for line in read_metrics(out / "metrics.jsonl") if line["kind"] == "epoch"]
    record |= {
        "final_weights": "ema.safetensors" if settings.judged_by_ema else "last.safetensors",
        "observed": observe.record(position.notes, framework, loaded, sources),
        "best_epoch": position.best_epoch,
        "continued_from": position.origin,
        "started": started,
        "finished": now(),
        "seconds": round(sum(line["seconds"]["train"] + line["seconds"]["evaluate"] for line in epochs), 3),
        "peak_memory_mb": max(line["peak_memory_mb"] for line in epochs),
        "device_memory_mb": _megabytes(framework.device_memory()),
    }
    write_json(out / "run.json", record)
    states.drop()
    return record


def _evaluate_first(
    run: RunConfig,
    framework: Framework,
    validation: Loader,
    position: Position,
    log: MetricsLog,
    progress: Progress,
    meter: Meter,
    out: Path,
) -> None:
    """Validate the initial weights: epoch 0, what training has to improve on."""
    begin = time.perf_counter()
    found, report = validate(run, framework, validation, position.notes)
    scores = report["metrics"]
    _keep_best(run, framework, position, scores, 0, out)
    seconds = {"train": 0.0, "evaluate": round(time.perf_counter() - begin, 3)}
    line = {"kind": "epoch", "epoch": 0, "steps": 0, "total": None, "losses": {}, "metrics": scores}
    log.write(line | {"seconds": seconds, "peak_memory_mb": meter.peak()})
    if log.board:
        log.board.detections(found)
    progress.line("before training: " + _scores_text(scores))


def _keep_best(
    run: RunConfig, framework: Framework, position: Position, scores: dict[str, Any], epoch: int, out: Path
) -> None:
    """Write the weights that were validated if no earlier ones had a higher AP."""
    if (scores["AP"] or 0.0) > position.best:
        position.best, position.best_epoch = scores["AP"] or 0.0, epoch
        with evaluated_weights(framework, run.train):
            formats.write(out / "best.safetensors", framework.state())


def _start(run: RunConfig, framework: Framework, out: Path, factors: np.ndarray, progress: Progress) -> Position:
    """Load the checkpoint that the run starts from, and return its position.

    This is the run's own newest checkpoint. Without one it is the checkpoint that `continue_from` names. Without that
    the run starts at step 0.
    """
    source = run.continue_from
    resumed = checkpoint.newest(out / "checkpoints", progress.line)
    found = resumed or (checkpoint.read(Path(source)) if source else None)
    if found is None:
        return Position()
    checkpoint.check(found, _shared(run), factors)
    checkpoint.restore(framework, found.parts)
    position, place = found.position, f"epoch {found.position.epoch}, step {found.position.step}"
    if resumed is None:
        if position.step >= len(factors):
            raise UserError(
                f"continue_from {source}: stands after {place}, where this run ends too; raise train.epochs"
            )
        position.origin = {"source": str(source), "framework": found.framework, "sha256": found.sha256}
        position.origin |= {"epoch": position.epoch, "step": position.step}
        position.notes = {}  # the notes are of the other run's framework
        position.best, position.best_epoch = -1.0, 0  # the best weights so far lie in the other run's folder
        progress.line(f"goes on from {found.path} of {found.framework}, after {place}")
    else:
        progress.line(f"continues after {place}")
    progress.skip(position.step)
    return position


class _Saver:
    """Writes checkpoints of one run: when called, and every `checkpoint_minutes` within an epoch. Keeps states, too."""

    def __init__(
        self,
        run: RunConfig,
        framework: Framework,
        folder: Path,
        factors: np.ndarray,
        position: Position,
        log: MetricsLog,
        states: Keeper,
    ):
        self.run, self.framework, self.folder, self.factors = run, framework, folder, factors
        self.position, self.log, self.states, self.last = position, log, states, time.monotonic()
        self.seconds = 60 * run.checkpoint_minutes

    def __call__(self) -> None:
        ema, keep = self.run.train.ema is not None, self.run.keep_checkpoints
        self.log.sync()
        checkpoint.save(self.folder, self.framework, self.position, _shared(self.run), self.factors, ema, keep)
        self.last = time.monotonic()

    def when_due(self) -> None:
        """Called after every step; 0 minutes save checkpoints at the end of epochs only."""
        self.states.when_due(self.position.step)
        if self.seconds and time.monotonic() - self.last >= self.seconds:
            self()


def run_epoch(
    run: RunConfig,
    framework: Framework,
    data: Loader,
    groups: list[Group],
    factors: np.ndarray,
    position: Position,
    log: MetricsLog,
    progress: Progress,
    limit: int | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train the rest of one epoch: optimiser steps of `accumulate` batches each; advances `position`.

    `limit` ends it at so many steps; `after_step` is called after each.
    """
    settings, epoch = run.train, position.epoch
    accumulate = settings.accumulate
    batches = data.batches(epoch + 1, position.steps * accumulate)
    count = data.plan.steps_per_epoch // accumulate
    for _ in range(position.steps, count if limit is None else min(count, limit)):
        begin = time.perf_counter()
        waited = passed = 0.0
        images, results = 0, []
        for part in range(accumulate):
            before = time.perf_counter()
            batch = next(batches)
            after = time.perf_counter()
            observe.batch(position.notes, batch)
            noted = time.perf_counter() - after  # is no part of the step
            begin, after = begin + noted, after + noted
            results.append(_forward_backward(run, framework, batch, position, part, log.path.parent))
            passed += time.perf_counter() - after
            waited += after - noted - before
            images += len(batch.images)
        total = float(np.mean([result.total for result in results]))
        rates = [group.lr * factors[position.step] for group in groups]
        updating = time.perf_counter()
        with trouble.memory_watched(f"step {position.step + 1}", trouble.smaller_steps(run, batch)):
            norm, clip = framework.optimizer_step(rates, settings.clip_norm)
        if not np.isfinite(norm):
            where = trouble.describe(batch, epoch + 1, position.step + 1)
            raise UserError(f"gradient norm is {norm} at {where}; the newest checkpoint holds an earlier state")
        losses = {name: float(np.mean([r.losses[name] for r in results])) for name in results[0].losses}
        if settings.ema:
            framework.update_ema(ema_decay(settings.ema, position.step + 1))
        end = time.perf_counter()
        observe.step(position.notes, framework)
        position.add(total, losses, end - begin)
        seconds = {"data": waited, "forward_backward": passed, "optimizer": end - updating, "step": end - begin}
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
        progress.step(epoch + 1, total, max(rates), norm, waited, end - begin)
        if after_step is not None:
            after_step()


def _forward_backward(
    run: RunConfig, framework: Framework, batch: Batch, position: Position, part: int, folder: Path
) -> StepResult:
    """One batch of a step. Raises UserError for a loss that is no number, with its cause, and for a lack of memory."""
    key, epoch, accumulate = (run.seed, position.step, part), position.epoch, run.train.accumulate
    where = trouble.describe(batch, epoch + 1, position.step + 1)
    try:
        with trouble.memory_watched(f"step {position.step + 1}", trouble.smaller_steps(run, batch)):
            result = framework.forward_backward(batch, Draws(*key), epoch, 1.0 / accumulate)
    except UserError:
        raise
    except Exception as error:  # a matching, for instance, refuses costs that are no numbers
        cause = trouble.why_not_finite(run, framework, batch, key, epoch, folder)
        if cause is None:
            raise
        raise UserError(f"loss is not a number at {where}: {cause}") from error
    if not np.isfinite(result.total):
        cause = trouble.why_not_finite(run, framework, batch, key, epoch, folder)
        raise UserError(f"loss is {result.total} at {where}: {cause or 'but not when it was repeated'}")
    return result


def _shared(run: RunConfig) -> Plain:
    """Everything that a continued run must share with the checkpoint; the framework is not part of it."""
    keys = ("model", "variant", "options", "groups", "label_space", "preprocess", "train", "seed", "precision")
    plain = run.plain()
    return {key: plain[key] for key in keys} | {"data": run.data.id}


def _epoch_line(position: Position, scores: dict | None, evaluated: float, peak: float) -> EpochLine:
    """The record of the epoch that `position` has come to the end of; `evaluated` is the validation's seconds."""
    running = position.running
    return {
        "kind": "epoch",
        "epoch": position.epoch + 1,
        "steps": position.steps,
        "total": running["total"] / position.steps,
        "losses": {name: value / count for name, (value, count) in sorted(running["losses"].items())},
        "metrics": scores,
        "seconds": {"train": round(running["seconds"], 3), "evaluate": round(evaluated, 3)},
        "peak_memory_mb": peak,
    }


def _epoch_text(line: EpochLine, epochs: int) -> str:
    text = f"epoch {line['epoch']}/{epochs}: loss {line['total']:.4f}"
    if line["metrics"]:
        text += ", " + _scores_text(line["metrics"])
    seconds = line["seconds"]
    return (
        text + f", {seconds['train']:.1f} s + {seconds['evaluate']:.1f} s, peak memory {line['peak_memory_mb']:.0f} MB"
    )


def _scores_text(scores: dict[str, Any]) -> str:
    return ", ".join(f"{name} {scores[name] or 0.0:.4f}" for name in ("AP", "AP50", "AP75"))


def _megabytes(value: int | None) -> float | None:
    return None if value is None else round(value / 1e6, 1)
