"""From a decoded image to the tensor that enters a network: the validation pipeline of each model family.

A preprocess is made from the `preprocess` section of a model's configuration:

| kind | model | resize | values |
|---|---|---|---|
| `square` | RT-DETR | Pillow, to size x size | RGB in [0, 1]; `normalize: true` ImageNet's mean and deviation |
| `square`, `normalize: bgr` | NanoDet-Plus | OpenCV's warp, to size x size | BGR, mean and deviation |
| `short_side` | DETR | Pillow, short side `size`, long side at most `max_size` | RGB, mean and deviation of [0, 1] |
| `keep_ratio` | GFocalV2 | OpenCV, inside `size` x `max_size` | RGB, mean and deviation of 0..255 |

Its result equals the official pipeline's to the last bit of the resize, so each kind resizes as the official code does.
Training needs the two halves apart: augmentation decides what is resized and to what size (`parity.data.chains`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from PIL import Image

from parity.data.resample import resize_linear, warp_axes
from parity.errors import UserError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB in [0, 1]
MEAN_255, DEVIATION_255 = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # the same of 0..255


class Preprocess(Protocol):
    """uint8 [H, W, 3] RGB and boxes [n, 4] of that frame -> float32 [3, h, w] and the boxes in the new frame."""

    fixed_size: tuple[int, int] | None  # (h, w) of every output, or None where it follows the image
    pad_multiple: int  # sides of a batch are rounded up to a multiple of this

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


class _Resizing:
    """A preprocess made of `resize`, which moves pixels and boxes, and `finish`, which turns pixels into numbers."""

    fixed_size = None
    pad_multiple = 1

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        resized = self.resize(image)
        return self.finish(resized), scale_boxes(boxes, (height, width), resized.shape[:2])


@dataclass(frozen=True)
class SquareResize(_Resizing):
    """Pillow BILINEAR to size x size without keeping the aspect ratio, RGB in [0, 1].

    RT-DETR, configs/dataset/coco_detection.yml: Resize on a Pillow image, then division by 255; no mean, no deviation
    (`normalize` adds ImageNet's).
    """

    size: int = 640
    normalize: bool = False

    @property
    def fixed_size(self) -> tuple[int, int]:
        return self.size, self.size

    def resize(self, image: np.ndarray) -> np.ndarray:
        return pillow_resize(image, (self.size, self.size))

    def finish(self, image: np.ndarray) -> np.ndarray:
        return _standardise(image, MEAN, DEVIATION) if self.normalize else _unit(image)


@dataclass(frozen=True)
class SquareWarp(_Resizing):
    """OpenCV 4's warpPerspective to size x size, BGR, mean and deviation.

    NanoDet-Plus, nanodet/data/transform/{warp,color}.py with keep_ratio False: the matrix maps pixel index to pixel
    index, so that nothing is shifted by half a pixel as a resize would, and pixels beyond the last one are black.
    """

    size: int = 320

    @property
    def fixed_size(self) -> tuple[int, int]:
        return self.size, self.size

    def matrix(self, height: int, width: int) -> np.ndarray:
        """[2, 2] rows (factor, offset) for x and y, as `warp_axes` takes them."""
        return np.asarray([[self.size / width, 0.0], [self.size / height, 0.0]])

    def resize(self, image: np.ndarray) -> np.ndarray:
        return warp_axes(image, self.matrix(*image.shape[:2]), self.fixed_size)

    def finish(self, image: np.ndarray) -> np.ndarray:
        """Takes uint8, or the result of colour changes: float32 [h, w, 3] RGB in units of 1 instead of 255."""
        values = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
        mean, deviation = (np.asarray(value, np.float32) / np.float32(255) for value in (MEAN_255, DEVIATION_255))
        return np.ascontiguousarray(((values - mean) / deviation)[:, :, ::-1].transpose(2, 0, 1))


@dataclass(frozen=True)
class ShortSide(_Resizing):
    """Pillow BILINEAR until the short side is `size`, unless the long side would pass `max_size`.

    DETR, datasets/transforms.py: RandomResize([800], max_size=1333), ToTensor, Normalize. The other side is cut to a
    whole number, not rounded.
    """

    size: int = 800
    max_size: int = 1333
    pad_multiple: int = 1

    def resize(self, image: np.ndarray) -> np.ndarray:
        return pillow_resize(image, short_side_size(image.shape[:2], self.size, self.max_size))

    def finish(self, image: np.ndarray) -> np.ndarray:
        return _standardise(image, MEAN, DEVIATION)


@dataclass(frozen=True)
class KeepRatio(_Resizing):
    """cv2.resize until the image just fits into `size` (short side) x `max_size` (long side).

    GFocalV2, configs/_base_/datasets/coco_detection.py: Resize(img_scale=(1333, 800), keep_ratio=True), Normalize,
    Pad(size_divisor=32). Here the batch is padded, which comes to the same; `sizes` are those before padding.
    """

    size: int = 800
    max_size: int = 1333
    pad_multiple: int = 32

    def resize(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        factor = min(self.max_size / max(height, width), self.size / min(height, width))
        target = max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
        return image if target == (height, width) else resize_linear(image, target)

    def finish(self, image: np.ndarray) -> np.ndarray:
        factor = 1 / np.asarray(DEVIATION_255, np.float64)
        values = (image.astype(np.float32) - np.asarray(MEAN_255, np.float32)) * factor.astype(np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))


KINDS = {"square": SquareResize, "short_side": ShortSide, "keep_ratio": KeepRatio}


def make_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """The preprocess that a `preprocess` section names, e.g. {"kind": "square", "size": 640, "normalize": "bgr"}."""
    settings = dict(config)
    kind = settings.pop("kind", None)
    if kind not in KINDS:
        raise UserError(f"preprocess.kind: {kind!r} is unknown, expected one of {', '.join(KINDS)}")
    known = [f.name for f in fields(KINDS[kind])]
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"preprocess.{key}: is unknown to kind {kind}, expected one of {', '.join(known)}")
        if key != "normalize" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UserError(f"preprocess.{key}: {value!r}, expected a positive number of pixels")
    if "size" not in settings:
        raise UserError(f"preprocess.size: is not set, expected a number of pixels for kind {kind}")
    if settings.get("max_size", settings["size"]) < settings["size"]:
        raise UserError(f"preprocess.max_size: {settings['max_size']}, expected at least size {settings['size']}")
    normalize = settings.get("normalize", False)
    if normalize == "bgr":
        return SquareWarp(settings["size"])
    if not isinstance(normalize, bool):
        raise UserError(f"preprocess.normalize: {normalize!r}, expected false, true or bgr")
    return KINDS[kind](**settings)


def short_side_size(source: tuple[int, int], size: int, max_size: int | None) -> tuple[int, int]:
    """(height, width) that DETR resizes an image of (height, width) `source` to."""
    short, long = min(source), max(source)
    if max_size is not None and long / short * size > max_size:
        size = round(max_size * short / long)
    if short == size:
        return source
    height, width = source
    return (int(size * height / width), size) if width < height else (size, int(size * width / height))


def pillow_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3] to (height, width) `size` with Pillow's BILINEAR, which averages when it shrinks."""
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _unit(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to float32 [3, H, W] in [0, 1]."""
    tensor = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    tensor /= np.float32(255)
    return tensor


def _standardise(image: np.ndarray, mean: tuple[float, ...], deviation: tuple[float, ...]) -> np.ndarray:
    """uint8 [H, W, 3] to float32 [3, H, W] in [0, 1], minus `mean`, divided by `deviation`."""
    tensor = _unit(image)
    tensor -= np.asarray(mean, np.float32)[:, None, None]
    tensor /= np.asarray(deviation, np.float32)[:, None, None]
    return tensor


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
