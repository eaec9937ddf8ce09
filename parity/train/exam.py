"""The verb `exam`: score given weights on the validation images of a run configuration.

COCO's metrics, and the mean training loss on images that nobody trained on. The loss is computed as in training: batch
normalisation by the batch, no augmentation, denoising from fixed draws, the same batches for every framework. It moves
far less from run to run than AP does.
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.data.loader import Loader
from parity.errors import UserError
from parity.files import write_json
from parity.framework import Framework
from parity.train import loaders, validate
from parity.train.evaluate import evaluate
from parity.train.given import model_with_weights

DRAWS = 20240607  # key of the loss's draws, whatever the seed of the run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb `exam`."""
    parser.add_argument("--config", required=True, help="A resolved run configuration; its validation images count.")
    parser.add_argument("--weights", required=True, help="Weights to score, in any format that convert reads.")
    parser.add_argument("--loss-images", type=int, default=512, help="The first images, for the loss (512).")
    parser.add_argument("--out", required=True, help="The JSON file to write.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Score the weights and write `metrics` (0 to 1), `loss`, `losses` by component, and what was scored."""
    if args.loss_images < 1:
        raise UserError(f"--loss-images {args.loss_images}: expected 1 or more")
    begin = time.perf_counter()
    configuration, framework, sha256 = model_with_weights(args.config, args.weights, framework_class)
    digest = loaders.load_manifest(configuration)["digest"]
    loader = loaders.val_loader(configuration, cache_bytes=0)
    found = validate.predict(framework, loader, configuration.evaluate)
    report = evaluate(Path(configuration.data.root) / "annotations/val.json", found)
    images, losses = exam_losses(framework, loader, configuration, args.loss_images)
    result = {
        "metrics": report["metrics"],
        "loss": losses.pop("total"),
        "losses": losses,
        "images": report["images"],
        "loss_images": images,
        "weights_sha256": sha256,
        "dataset_digest": digest,
        "seconds": round(time.perf_counter() - begin, 3),
    }
    write_json(args.out, result)
    print(f"{args.out}: AP {report['metrics']['AP']}, loss {result['loss']:.4f}", file=sys.stderr)


def exam_losses(framework: Framework, loader: Loader, run: RunConfig, images: int) -> tuple[int, dict[str, float]]:
    """(images used, mean losses over batches, weighted by their images); `total` is the sum that training minimises.

    The batches are those of training's size; running statistics of the framework's model are changed by it.
    """
    size, count = run.train.batch_size, min(images, len(loader.dataset.ids))
    whole = max(1, count // size)  # a smaller batch would be normalised by fewer values
    sums: dict[str, float] = {}
    seen = 0
    for number, batch in enumerate(islice(loader.eval_batches(size), whole)):
        result = framework.forward_backward(batch, Draws(DRAWS, number), run.train.epochs - 1)
        framework.set_gradients({})  # no step uses the gradients, so they are dropped
        if not np.isfinite(result.total):
            raise UserError(f"loss is {result.total} on the exam's batch {number + 1}")
        seen += len(batch.images)
        for name, value in (result.losses | {"total": result.total}).items():
            sums[name] = sums.get(name, 0.0) + value * len(batch.images)
    return seen, {name: value / seen for name, value in sums.items()}
