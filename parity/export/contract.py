"""The metadata of an exported ONNX file: everything that a program needs to use the file.

Inputs are `images` float32 [B, 3, H, W], preprocessed, and `sizes` int64 [B, 2], the (height, width) of each image
before padding; a file of raw outputs has `sizes` only if its network needs them. Outputs are those of `trace`
(docs/trace.md), or boxes float32 [B, K, 4] (xyxy in pixels of `sizes`), scores float32 [B, K], labels int64 [B, K]
and counts int64 [B].
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.config.model import ModelConfig
from parity.data import transforms
from parity.data.transforms import KeepRatio, Preprocess, ShortSide, SquareResize, SquareWarp
from parity.detect.model import Detector
from parity.errors import UserError

OPSET = 17  # the first with LayerNormalization; GridSample needs 16
FORMATS = ("onnx",)
RAW, DETECTIONS = "raw", "detections"  # values of `outputs`


def file_name(model: str, variant: str, outputs: str) -> str:
    """Name of an exported file."""
    return f"{model}-{variant}{'' if outputs == DETECTIONS else '-raw'}.onnx"


def batch_of(text: str) -> int | None:
    """Images of a batch from what the user wrote: a number, or `any` (None). Raises UserError."""
    if text == "any":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"BATCH: {text!r}, expected a number of images from 1 on, or any")
    return int(text)


def size_of(text: str, config: ModelConfig) -> tuple[int, int] | None:
    """(height, width) from what the user wrote: `any` (None), or `fixed`, the one size of the model's input.

    Raises UserError for another word. Raises it too where images keep their proportions, because then there is no one
    size.
    """
    if text == "any":
        return None
    if text != "fixed":
        raise UserError(f"SIZE: {text!r}, expected any or fixed")
    size = transforms.make_preprocess(config.preprocess.plain()).fixed_size
    if size is None:
        raise UserError(
            f"SIZE: fixed does not fit {config.model} {config.variant}, whose images keep their proportions;"
            " expected any"
        )
    return size


def metadata(
    detector: Detector,
    outputs: str,
    batch: int | None,
    size: tuple[int, int] | None,
    weights_sha256: str,
    framework: str | None,
    versions: Mapping[str, str],
) -> dict[str, str]:
    """Keys and values of a file's metadata, all of them text.

    outputs: RAW or DETECTIONS; batch and size: None for any; framework: what trained the weights, None if unknown;
    versions: of torch, onnx and onnxruntime.
    """
    config = detector.config
    preprocess = transforms.make_preprocess(config.preprocess.plain())
    classes = [
        {"label": int(label), "id": int(category), "name": detector.names[category]}
        for label, category in sorted(detector.category_of.items())
    ]
    multiple = max(config.options["strides"][:-1]) if config.model == "nanodet" else 1
    return {
        "model": config.model,
        "variant": config.variant,
        "outputs": outputs,
        "classes": json.dumps(classes, ensure_ascii=False),
        "preprocess": json.dumps(describe(preprocess)),
        "batch": "any" if batch is None else str(batch),
        "size": "any" if size is None else f"{size[0]}x{size[1]}",
        "size_multiple": str(multiple),
        "max_detections": str(detector.max_detections),
        "opset": str(OPSET),
        "weights": detector.weights.name,
        "weights_sha256": weights_sha256,
        "trained_by": framework or "unknown",
        **versions,
    }


def describe(preprocess: Preprocess) -> dict[str, Any]:
    """A preprocess in plain words and numbers.

    resize: how pixels are resized, from `size`, `max_size` and `pad_multiple`; then, for channels in the order
    `channels`: value / divide - mean, and the result divided by `deviation` or times `factor`, all in float32.
    """
    if isinstance(preprocess, SquareWarp):
        size = {"resize": "warp", "size": preprocess.size}
        mean, deviation = (_rgb(v) / np.float32(255) for v in (transforms.MEAN_255, transforms.DEVIATION_255))
        return size | {
            "channels": "BGR", "divide": 255, "mean": _list(mean[::-1]), "deviation": _list(deviation[::-1])
        }  # fmt: skip
    standard = {"channels": "RGB", "divide": 255, "mean": _list(_rgb(transforms.MEAN))}
    standard["deviation"] = _list(_rgb(transforms.DEVIATION))
    if isinstance(preprocess, SquareResize):
        plain = {"mean": [0.0] * 3, "deviation": [1.0] * 3}
        return {"resize": "square", "size": preprocess.size, **standard, **({} if preprocess.normalize else plain)}
    sides = {"size": preprocess.size, "max_size": preprocess.max_size, "pad_multiple": preprocess.pad_multiple}
    if isinstance(preprocess, ShortSide):
        return {"resize": "short_side", **sides, **standard}
    if isinstance(preprocess, KeepRatio):
        factor = 1 / np.asarray(transforms.DEVIATION_255, np.float64)
        numbers = {"mean": _list(_rgb(transforms.MEAN_255)), "factor": _list(factor.astype(np.float32))}
        return {"resize": "keep_ratio", **sides, "channels": "RGB", "divide": 1, **numbers}
    raise UserError(f"preprocess: {type(preprocess).__name__} has no description for an exported file")


def _rgb(values: tuple[float, ...]) -> np.ndarray:
    return np.asarray(values, np.float32)


def _list(values: np.ndarray) -> list[float]:
    """float32 values as numbers that JSON keeps exactly."""
    return [float(value) for value in values]
