"""From a decoded image to the tensor that enters a network: the validation pipeline of each model family.

A preprocess is made from the `preprocess` section of a model's configuration. Its result must equal the official
pipeline's to the last bit that the resizer allows, so Pillow resizes where the official code lets Pillow resize.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from parity.errors import UserError


class Preprocess(Protocol):
    """uint8 [H, W, 3] RGB and boxes [n, 4] of that frame -> float32 [3, h, w] and the boxes in the new frame."""

    fixed_size: tuple[int, int] | None  # (h, w) of every output, or None where it follows the image

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class SquareResize:
    """Pillow BILINEAR to size x size without keeping the aspect ratio, RGB in [0, 1].

    RT-DETR, configs/dataset/coco_detection.yml: Resize on a Pillow image, then division by 255; no mean, no deviation.
    """

    size: int

    @property
    def fixed_size(self) -> tuple[int, int]:
        return self.size, self.size

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        resized = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR)
        tensor = np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)).astype(np.float32)
        tensor /= np.float32(255)
        return tensor, scale_boxes(boxes, (height, width), (self.size, self.size))


def make_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """The preprocess that a `preprocess` section names: {"kind": "square", "size": 640}."""
    kind, size = config.get("kind"), config.get("size")
    if kind != "square":
        raise UserError(f"preprocess.kind: {kind!r} is unknown, expected square")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UserError(f"preprocess.size: {size!r}, expected a positive number of pixels")
    return SquareResize(size)


def scale_boxes(boxes: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Boxes [n, 4] xyxy from a frame of (height, width) `source` to one of `target`, float32."""
    factor = np.asarray([target[1] / source[1], target[0] / source[0]] * 2, np.float64)
    return (boxes.astype(np.float64) * factor).astype(np.float32)


def resize_nearest(images: np.ndarray, size: int) -> np.ndarray:
    """[B, 3, H, W] to [B, 3, size, size] with the index rule of torch's `F.interpolate` (mode nearest).

    Source index = floor(target index * (input / output)) in float32; this is not the nearest pixel centre.
    """
    rows, columns = (_nearest_index(extent, size) for extent in images.shape[2:])
    return np.ascontiguousarray(images[:, :, rows][:, :, :, columns])


def _nearest_index(source: int, target: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(target)
    index = np.floor(np.arange(target, dtype=np.float32) * scale).astype(np.int64)
    return np.minimum(index, source - 1)
