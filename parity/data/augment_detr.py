"""DETR's training augmentation: flip, then one of two ways to a drawn short side.

The chain and its draws follow facebookresearch/detr, datasets/coco.py (make_coco_transforms) and
datasets/transforms.py. Both ways end in a resize that keeps the aspect ratio, so every image has its own size; the
batch is padded afterwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from parity.data.augment import Sample, horizontal_flip
from parity.data.settings import lengths, limits, probability, size
from parity.data.transforms import ShortSide, pillow_resize, scale_boxes, short_side_size
from parity.errors import UserError


@dataclass(frozen=True)
class DetrAugment:
    """`flip` and `crop` are chances; a crop is taken from the image resized to one of `crop_resize`.

    The final short side is one of `scales`; without any it is the preprocess's. `scale` multiplies all lengths, so that
    the same chain serves smaller networks: 0.2 makes 96..160 of the official 480..800.
    """

    flip: float = 0.5
    crop: float = 0.5
    scales: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    crop_resize: tuple[int, ...] = (400, 500, 600)
    crop_size: tuple[int, int] = (384, 600)
    scale: float = 1.0

    takes = ShortSide

    def __post_init__(self):
        for name in ("flip", "crop"):
            probability(name, getattr(self, name))
        for name in ("scales", "crop_resize"):
            lengths(name, getattr(self, name))
        limits("crop_size", self.crop_size)
        size("scale", self.scale)
        shortest = min((*self.scales, *self.crop_resize, self.crop_size[0])) * self.scale
        if shortest < 1:
            raise UserError(f"train.augment.scale: {self.scale!r}, makes lengths of less than a pixel")
        if self.crop > 0 and not self.crop_resize:
            raise UserError("train.augment.crop_resize: is empty, expected lengths where crop is above 0")

    def prepare(self, sample: Sample, rng: np.random.Generator, preprocess: ShortSide) -> Sample:
        """Tensor float32 [3, h, w], boxes in its frame, labels."""
        image, boxes, labels = sample
        if self.flip > 0 and rng.random() < self.flip:
            image, boxes = horizontal_flip(image, boxes)
        if self.crop > 0 and rng.random() >= 1 - self.crop:
            source = image.shape[:2]
            image = pillow_resize(image, short_side_size(source, self._drawn(self.crop_resize, rng), None))
            boxes = scale_boxes(boxes, source, image.shape[:2])
            image, boxes, labels = random_size_crop(image, boxes, labels, rng, *map(self._scaled, self.crop_size))
        if self.scales:
            preprocess = replace(preprocess, size=self._drawn(self.scales, rng))
        return *preprocess(image, boxes), labels

    def _scaled(self, length: float) -> int:
        return round(length * self.scale)

    def _drawn(self, options: tuple[int, ...], rng: np.random.Generator) -> int:
        return self._scaled(options[int(rng.integers(len(options)))])


def random_size_crop(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator, least: int, most: int
) -> Sample:
    """Crop with sides drawn from least..most, as far as the image goes; boxes are clipped, empty ones go."""
    height, width = image.shape[:2]
    wide, high = (int(rng.integers(min(least, side), min(side, most) + 1)) for side in (width, height))
    top, left = (int(rng.integers(0, side + 1)) for side in (height - high, width - wide))
    kept = boxes - np.asarray([left, top, left, top], np.float32)
    kept[:, 0::2], kept[:, 1::2] = kept[:, 0::2].clip(0, wide), kept[:, 1::2].clip(0, high)
    inside = (kept[:, 2] > kept[:, 0]) & (kept[:, 3] > kept[:, 1])
    return np.ascontiguousarray(image[top : top + high, left : left + wide]), kept[inside], labels[inside]
