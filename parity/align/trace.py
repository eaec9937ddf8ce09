"""`trace`: what one framework computes for given weights and inputs, as arrays that anybody can compare.

The format of IN.npz and OUT.npz is fixed and described in docs/trace.md. Nothing here knows a
framework or a model: both are behind `parity.framework.Framework`.
"""

import argparse
from pathlib import Path

import numpy as np

from parity.arrays import read_npz, write_npz
from parity.config.layers import parse_settings
from parity.config.model import ModelConfig
from parity.config.models import model_config
from parity.data.draws import Draws, StoredDraws
from parity.errors import UserError
from parity.framework import Batch, Detections, Framework
from parity.train.prepare import prepare_training
from parity.train.schedule import ema_decay
from parity.weights import formats

RUNNING = (".running_mean", ".running_var")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="The detector, for example rtdetr.")
    parser.add_argument("--variant", required=True, help="Its variant, for example r18vd.")
    parser.add_argument("--num-classes", type=int, required=True, help="Classes of the head (DETR: 91).")
    parser.add_argument("--weights", required=True, help="Safetensors file with the official names and shapes.")
    parser.add_argument("--inputs", required=True, help="IN.npz with images, sizes and, in train mode, targets.")
    parser.add_argument("--out", required=True, help="OUT.npz to write.")
    parser.add_argument("--mode", choices=["eval", "train"], default="eval", help="What to compute; eval by default.")
    parser.add_argument("--steps", type=int, default=0, metavar="K", help="Optimiser steps to take on the same batch.")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="Options by config name, values in JSON.",
    )
    parser.add_argument("--layers", action="store_true", help="Also write the output of every module.")
    parser.add_argument("--grads", choices=["norm", "full"], default="norm", help="Write norms or whole gradients.")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="Arithmetic, where offered.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>.")
    parser.add_argument("--threads", type=int, help="CPU threads; what the machine offers by default.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb. Raises UserError for anything wrong with the arguments or the files."""
    settings = parse_settings(args.set)
    epoch = int(settings.pop("epoch", 0))
    model = model_config(args.model, args.variant, args.num_classes, settings)
    batch, stored = read_inputs(args.inputs, train=args.mode == "train", num_classes=args.num_classes)
    framework = framework_class(args.device, args.threads, {"dtype": args.dtype})
    framework.seed(0)
    framework.build(args.model, model.options)
    framework.load_state(formats.read(args.weights))
    if args.mode == "eval":
        arrays = trace_eval(framework, batch, layers=args.layers)
    else:
        draws = _DrawSource(stored)
        arrays = trace_train(framework, model, batch, draws, epoch, args.steps, args.grads == "full", args.layers)
    write_npz(args.out, arrays)


def read_inputs(path: str | Path, train: bool, num_classes: int) -> tuple[Batch, list[np.ndarray]]:
    """Read IN.npz: the batch and its stored draws. Raises UserError naming the array at fault."""
    arrays = read_npz(path)

    def take(name: str, kind: str, shape: tuple[int | None, ...]) -> np.ndarray:
        if name not in arrays:
            raise UserError(f"{path}: lacks {name!r}")
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind != kind:
            want = "[" + ", ".join("*" if n is None else str(n) for n in shape) + "]"
            expected = {"f": "float32", "i": "int64"}[kind]
            raise UserError(f"{path}: {name} is {array.dtype} {list(array.shape)}, expected {expected} {want}")
        return array

    images = take("images", "f", (None, 3, None, None)).astype(np.float32)
    sizes = take("sizes", "i", (len(images), 2))
    if (sizes < 1).any() or (sizes > np.array(images.shape[2:])).any():
        raise UserError(f"{path}: sizes must lie between 1 and the images' {images.shape[2]} x {images.shape[3]}")
    batch = Batch(images, sizes.astype(np.int64))
    if train:
        counts = take("counts", "i", (len(images),)).astype(np.int64)
        if (counts < 0).any():
            raise UserError(f"{path}: counts must be 0 or more, found {counts.min()}")
        boxes, labels = take("boxes", "f", (int(counts.sum()), 4)), take("labels", "i", (int(counts.sum()),))
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise UserError(f"{path}: labels must be 0..{num_classes - 1}, found {labels.min()}..{labels.max()}")
        batch = Batch(images, batch.sizes, boxes.astype(np.float32), labels.astype(np.int64), counts)
    draws = [arrays[f"draws/{i}"] for i in range(len(arrays)) if f"draws/{i}" in arrays]
    if len(draws) != sum(key.startswith("draws/") for key in arrays):
        raise UserError(f"{path}: draws must be called draws/0, draws/1, ...")
    return batch, draws


class _DrawSource:
    """Draws for several forward passes: stored arrays in call order. After the last one they begin again."""

    def __init__(self, arrays: list[np.ndarray]):
        self.stored, self.forwards = StoredDraws(arrays) if arrays else None, 0

    def next(self):
        self.forwards += 1
        if self.stored is None:
            return Draws(0, 0, self.forwards)
        if self.stored.used >= len(self.stored.arrays):
            self.stored.used = 0
        return self.stored


def trace_eval(
    framework: Framework,
    batch: Batch,
    layers: bool = False,
    inputs: bool = False,
    feed: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Raw outputs, detections and, if asked for, every layer, in eval mode.

    `inputs` and `feed` are those of `Framework.record_layers`.
    """
    arrays: dict[str, np.ndarray] = {}
    given = framework.to_device(batch)
    if layers:
        with framework.record_layers(inputs, feed) as recorded:
            outputs = framework.forward(given)
        arrays |= {f"layer/{name}": value for name, value in recorded.items()}
    else:
        outputs = framework.forward(given)
    arrays |= {f"output/{name}": value for name, value in framework.raw_outputs(outputs).items()}
    return arrays | detections(framework.postprocess(outputs, given))


def detections(found: list[Detections]) -> dict[str, np.ndarray]:
    """Detections of a batch under the names of OUT.npz."""
    return {
        f"detections/img{i}/{part}": getattr(image, part)
        for i, image in enumerate(found)
        for part in ("boxes", "scores", "labels")
    }


def trace_train(
    framework: Framework,
    model: ModelConfig,
    batch: Batch,
    draws: _DrawSource,
    epoch: int = 0,
    steps: int = 0,
    full_gradients: bool = False,
    layers: bool = False,
) -> dict[str, np.ndarray]:
    """Losses, matches and gradients of one batch in train mode, then `steps` optimiser steps on it.

    Learning rates are the variant's own, constant: no warm-up and no schedule. Norms are taken in float64.
    """
    train = model.train
    groups = prepare_training(framework, model)
    initial = framework.state()
    arrays: dict[str, np.ndarray] = {}
    if layers:
        with framework.record_layers() as recorded:
            result = framework.forward_backward(batch, draws.next(), epoch, extras=True)
        arrays |= {f"layer/{name}": value for name, value in recorded.items()}
    else:
        result = framework.forward_backward(batch, draws.next(), epoch, extras=True)
    arrays |= result.extras
    arrays |= {f"loss/{name}": np.float32(value) for name, value in result.losses.items()}
    arrays["total"] = np.float32(result.total)
    for name, gradient in framework.gradients().items():
        arrays[f"grad_norm/{name}"] = norm(gradient)
        if full_gradients:
            arrays[f"grad/{name}"] = gradient
    totals, norms, clips = [result.total], [], []
    for step in range(1, steps + 1):
        before, factor = framework.optimizer_step([group.lr for group in groups], train.clip_norm)
        norms.append(before)
        clips.append(factor)
        if train.ema:
            framework.update_ema(ema_decay(train.ema, step))
        if step == steps:  # before the last forward, which moves the running statistics once more
            arrays |= changes(framework, initial, bool(train.ema))
        totals.append(framework.forward_backward(batch, draws.next(), epoch).total)
    if steps:
        arrays["step_total"] = np.array(totals, np.float64)
        arrays["step_grad_norm"] = np.array(norms, np.float64)
        arrays["step_clip"] = np.array(clips, np.float64)
    return arrays


def norm(array: np.ndarray) -> np.float64:
    """L2 norm in float64."""
    return np.float64(np.sqrt(np.square(array.astype(np.float64)).sum()))


def changes(framework: Framework, initial: dict[str, np.ndarray], ema: bool) -> dict[str, np.ndarray]:
    """Norms of (parameter - initial), of the EMA's change, and of the BatchNorm statistics themselves."""
    state = framework.state()
    parameters = [tensor.name for tensor in framework.tensors() if tensor.kind != "buffer"]

    def moved(now: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
        return {f"{prefix}/{name}": norm(now[name].astype(np.float64) - initial[name]) for name in parameters}

    arrays = moved(state, "delta_norm") | {f"buffer_norm/{k}": norm(v) for k, v in state.items() if k.endswith(RUNNING)}
    return arrays | (moved(framework.ema_state(), "ema_delta_norm") if ema else {})
