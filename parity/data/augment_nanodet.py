"""NanoDet-Plus's training augmentation: one warp for everything that moves pixels, then colours.

RangiLyu/nanodet, nanodet/data/transform/{warp,color}.py, with the settings of config/nanodet-plus-m_320.yml: neither
perspective nor rotation nor shear. Each step but flip comes with chance one half.
"""

from dataclasses import dataclass

import numpy as np

from parity.data.augment import Sample
from parity.data.resample import warp_axes
from parity.data.settings import limits, probability, size
from parity.data.transforms import SquareWarp
from parity.errors import UserError

Limits = tuple[float, float] | None


@dataclass(frozen=True)
class NanoDetAugment:
    """Ranges [smallest, largest] of factors, None to leave a step out; `translate` is a part of the image's sides,
    `brightness` a part of white.

    Boxes are clipped to the input. The official code keeps boxes that are then empty. A `min_box` above 0 drops boxes
    with a side below that many pixels.
    """

    scale: Limits = (0.6, 1.4)
    stretch: tuple[Limits, Limits] | None = ((0.8, 1.2), (0.8, 1.2))  # of width and of height
    translate: float = 0.2
    flip: float = 0.5
    brightness: float = 0.2
    contrast: Limits = (0.6, 1.4)
    saturation: Limits = (0.5, 1.2)
    min_box: float = 0.0

    takes = SquareWarp

    def __post_init__(self):
        if self.stretch and len(self.stretch) != 2:
            raise UserError(f"train.augment.stretch: {self.stretch!r}, expected [range of width, range of height]")
        ranges = {name: [getattr(self, name)] for name in ("scale", "contrast", "saturation")}
        for name, values in (ranges | {"stretch": self.stretch or []}).items():
            for value in filter(None, values):
                limits(name, value)
        for name in ("translate", "flip", "brightness"):
            probability(name, getattr(self, name))
        size("min_box", self.min_box)

    def prepare(self, sample: Sample, rng: np.random.Generator, preprocess: SquareWarp) -> Sample:
        """Tensor float32 [3, size, size], boxes in its frame, labels."""
        image, boxes, labels = sample
        matrix = self.matrix(image.shape[:2], rng, preprocess)
        warped = warp_axes(image, matrix, preprocess.fixed_size)
        moved = boxes.astype(np.float64) * np.tile(matrix[:, 0], 2) + np.tile(matrix[:, 1], 2)
        corners = moved.reshape(-1, 2, 2)
        moved = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        boxes = moved.clip(0, preprocess.size).astype(np.float32)
        if self.min_box > 0:
            large = (boxes[:, 2:] - boxes[:, :2] >= self.min_box).all(axis=1)
            boxes, labels = boxes[large], labels[large]
        return preprocess.finish(self.colours(warped, rng)), boxes, labels

    def matrix(self, source: tuple[int, int], rng: np.random.Generator, preprocess: SquareWarp) -> np.ndarray:
        """[2, 2] rows (factor, offset) for x and y: around the centre, then to the network's input."""
        height, width = source
        factor = np.ones(2)
        if self.scale and _coin(rng):
            factor *= rng.uniform(*self.scale)
        if self.stretch and _coin(rng):
            factor *= [rng.uniform(*limits) if limits else 1.0 for limits in self.stretch]
        if self.flip > 0 and rng.random() < self.flip:
            factor[0] = -factor[0]
        centre = np.full(2, 0.5)
        if self.translate > 0 and _coin(rng):
            centre = rng.uniform(0.5 - self.translate, 0.5 + self.translate, 2)
        sides = np.asarray([width, height], np.float64)
        offset = factor * (-sides / 2) + centre * sides
        resize = preprocess.matrix(height, width)[:, 0]
        return np.stack([factor * resize, offset * resize], axis=1)

    def colours(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 [h, w, 3] RGB to float32 in units of 1; nothing is clipped, as in the official code."""
        values = image.astype(np.float32) / np.float32(255)
        if self.brightness > 0 and _coin(rng):
            values = values + np.float32(rng.uniform(-self.brightness, self.brightness))
        if self.contrast and _coin(rng):
            values = values * np.float32(rng.uniform(*self.contrast))
        if self.saturation and _coin(rng):
            values = saturate(values, rng.uniform(*self.saturation))
        return values


def saturate(values: np.ndarray, factor: float) -> np.ndarray:
    """Multiply S of HSV without converting to HSV: float32 [h, w, 3]; channels move away from the largest one.

    HSV divides by the magnitude of the largest channel. Where brightness made even that channel negative, the others
    come back mirrored at it. OpenCV does the same.
    """
    largest = values.max(axis=2, keepdims=True)
    return largest - np.sign(largest) * np.float32(factor) * (largest - values)


def _coin(rng: np.random.Generator) -> bool:
    return rng.random() < 0.5
