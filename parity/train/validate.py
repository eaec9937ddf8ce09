"""Validation of a model while it is trained, and of given weights: detections, and COCO's metrics of them."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from parity.config.run import EvaluateConfig, RunConfig
from parity.config.train import TrainConfig
from parity.data.coco import Dataset
from parity.data.entries import ResultEntry
from parity.data.loader import Loader
from parity.framework import Batch, Detections, Framework
from parity.train import observe, trouble
from parity.train.evaluate import evaluate, to_coco


def validate(
    run: RunConfig, framework: Framework, validation: Loader, notes: observe.Notes
) -> tuple[list[ResultEntry], dict[str, Any]]:
    """Detections of the validation images with the weights that count, and their COCO metrics."""
    advice = f"evaluate.batch_size is {run.evaluate.batch_size}; try a smaller one"
    with evaluated_weights(framework, run.train), trouble.memory_watched("the evaluation", advice):
        notes.pop("validation", None)  # of the validation before
        found = predict(framework, validation, run.evaluate, notes)
    return found, evaluate(Path(run.data.root) / "annotations/val.json", found)


def evaluated_weights(framework: Framework, settings: TrainConfig) -> AbstractContextManager:
    """EMA weights where the model is evaluated with them, its own otherwise."""
    return framework.ema_weights() if settings.judged_by_ema else nullcontext()


def predict(
    framework: Framework, loader: Loader, settings: EvaluateConfig, notes: observe.Notes | None = None
) -> list[ResultEntry]:
    """Detections of every image in COCO results format.

    `notes` gets a digest of the batches under `validation`.
    """
    results: list[ResultEntry] = []
    for batch in loader.eval_batches(settings.batch_size):
        if notes is not None:
            observe.batch(notes, batch, "validation")
        results += coco_results(framework.predict(batch), batch, loader.dataset, settings)
    return results


def coco_results(
    found: list[Detections], batch: Batch, dataset: Dataset, settings: EvaluateConfig
) -> list[ResultEntry]:
    """COCO results of one batch, with the run's limit per image and score threshold."""
    limit, threshold = settings.max_detections, settings.score_threshold
    return to_coco(found, batch, dataset.category_of, max_detections=limit, score_threshold=threshold)
