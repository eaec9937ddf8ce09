"""RT-DETR's training augmentation on NumPy images.

The chain and its probabilities are those of rtdetr_pytorch/configs/rtdetr/include/dataloader.yml; what each step draws
and computes follows torchvision's `transforms.v2` on Pillow images. Images are uint8 [H, W, 3] RGB, boxes float32
[n, 4] absolute xyxy, labels int64 [n]. Every function takes its randomness only from the generator that it is given.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from parity.data.settings import probability, size
from parity.data.transforms import Preprocess

BRIGHTNESS, CONTRAST, SATURATION, HUE = (0.875, 1.125), (0.5, 1.5), (0.5, 1.5), (-0.05, 0.05)
ZOOM_SIDE = (1.0, 4.0)
CROP_SCALE, CROP_ASPECT, CROP_TRIALS = (0.3, 1.0), (0.5, 2.0), 40
CROP_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # 1.0 stands for "leave the image as it is"

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]  # image, boxes, labels


@dataclass(frozen=True)
class Augment:
    """Probabilities of the steps, and the smallest side in pixels of a box that stays a target.

    `photometric` is the chance of each colour change by itself, the others are the chance of the whole step.
    """

    photometric: float = 0.0
    zoom_out: float = 0.0
    iou_crop: float = 0.0
    flip: float = 0.0
    min_box: float = 1.0

    takes = None  # any preprocess

    def __post_init__(self):
        for name in ("photometric", "zoom_out", "iou_crop", "flip"):
            probability(name, getattr(self, name))
        size("min_box", self.min_box)

    def prepare(self, sample: Sample, rng: np.random.Generator, preprocess: Preprocess) -> Sample:
        """The chain, the resize, and again no box below `min_box` pixels; the image is then float32 [3, h, w]."""
        image, boxes, labels = self(sample, rng)
        tensor, boxes = preprocess(image, boxes)
        return tensor, *sanitize(boxes, labels, tensor.shape[1:], self.min_box)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply the chain up to the resize, which the preprocess does."""
        image, boxes, labels = sample
        if self.photometric > 0:
            image = photometric_distort(image, rng, self.photometric)
        if self.zoom_out > 0 and rng.random() < self.zoom_out:
            image, boxes = zoom_out(image, boxes, rng)
        if self.iou_crop > 0 and rng.random() < self.iou_crop:
            image, boxes, labels = iou_crop(image, boxes, labels, rng)
        boxes, labels = sanitize(boxes, labels, image.shape[:2], self.min_box)
        if self.flip > 0 and rng.random() < self.flip:
            image, boxes = horizontal_flip(image, boxes)
        return image, boxes, labels


def photometric_distort(image: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
    """Brightness, contrast, saturation, hue and a permutation of channels, each with chance `p`.

    Contrast comes before saturation and hue or after them, by a fair coin. (torchvision RandomPhotometricDistort)
    """

    def factor(limits: tuple[float, float]) -> float | None:
        return float(rng.uniform(*limits)) if rng.random() < p else None

    brightness, contrast, saturation, hue = (factor(limits) for limits in (BRIGHTNESS, CONTRAST, SATURATION, HUE))
    contrast_first = rng.random() < 0.5
    channels = rng.permutation(3) if rng.random() < p else None
    picture = Image.fromarray(image)
    if brightness is not None:
        picture = ImageEnhance.Brightness(picture).enhance(brightness)
    if contrast is not None and contrast_first:
        picture = ImageEnhance.Contrast(picture).enhance(contrast)
    if saturation is not None:
        picture = ImageEnhance.Color(picture).enhance(saturation)
    if hue is not None:
        picture = _shift_hue(picture, hue)
    if contrast is not None and not contrast_first:
        picture = ImageEnhance.Contrast(picture).enhance(contrast)
    array = np.asarray(picture)
    return array if channels is None else np.ascontiguousarray(array[:, :, channels])


def _shift_hue(picture: Image.Image, shift: float) -> Image.Image:
    """Turn the hue circle by `shift` of a full turn, in Pillow's 8-bit HSV."""
    hsv = np.array(picture.convert("HSV"))
    hsv[:, :, 0] += np.uint8(int(shift * 255) % 256)  # wraps around, as hue does
    return Image.fromarray(hsv, "HSV").convert("RGB")


def zoom_out(image: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put the image somewhere on a black canvas of 1 to 4 times its sides. (torchvision RandomZoomOut, fill 0)"""
    height, width = image.shape[:2]
    ratio = rng.uniform(*ZOOM_SIDE)
    canvas_width, canvas_height = int(width * ratio), int(height * ratio)
    across, down = rng.random(2)
    left, top = int((canvas_width - width) * across), int((canvas_height - height) * down)
    canvas = np.zeros((canvas_height, canvas_width, 3), np.uint8)
    canvas[top : top + height, left : left + width] = image
    return canvas, boxes + np.asarray([left, top, left, top], np.float32)


def iou_crop(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Sample:
    """Crop so that some box overlaps the crop by at least a drawn IoU. (torchvision RandomIoUCrop)

    Boxes whose centre lies outside the crop go; the others are clipped to it. After 40 failed trials a new overlap is
    drawn, until one succeeds or "leave as it is" comes up. An image without boxes always ends in the latter.
    """
    height, width = image.shape[:2]
    while True:
        overlap = CROP_OVERLAPS[int(rng.integers(len(CROP_OVERLAPS)))]
        if overlap >= 1.0:
            return image, boxes, labels
        for _ in range(CROP_TRIALS):
            window = _crop_window(width, height, rng)
            if window is None:
                continue
            left, top, right, bottom = window
            inside = _centres_inside(boxes, window)
            if not inside.any() or _iou(boxes[inside], window).max() < overlap:
                continue
            kept = boxes[inside] - np.asarray([left, top, left, top], np.float32)
            kept[:, 0::2] = kept[:, 0::2].clip(0, right - left)
            kept[:, 1::2] = kept[:, 1::2].clip(0, bottom - top)
            return np.ascontiguousarray(image[top:bottom, left:right]), kept, labels[inside]


def _crop_window(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """One trial window (left, top, right, bottom), None when its shape is not allowed."""
    across, down = rng.uniform(*CROP_SCALE, 2)
    new_width, new_height = int(width * across), int(height * down)
    if new_width == 0 or new_height == 0 or not CROP_ASPECT[0] <= new_width / new_height <= CROP_ASPECT[1]:
        return None
    across, down = rng.random(2)
    left, top = int((width - new_width) * across), int((height - new_height) * down)
    return left, top, left + new_width, top + new_height


def _centres_inside(boxes: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = window
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return (left < x) & (x < right) & (top < y) & (y < bottom)


def _iou(boxes: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """IoU of each box [n, 4] with one window.

    `parity.data.iou` would round otherwise: NumPy 1 adds an area from 65536 on, a whole number, in float64.
    """
    left, top, right, bottom = window
    wide = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
    high = np.minimum(boxes[:, 3], bottom) - np.maximum(boxes[:, 1], top)
    shared = wide.clip(0) * high.clip(0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return shared / (areas + (right - left) * (bottom - top) - shared)


def sanitize(
    boxes: np.ndarray, labels: np.ndarray, size: tuple[int, int], min_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Drop boxes with a side below `min_size` pixels or a corner outside the image of (height, width) `size`."""
    height, width = size
    x1, y1, x2, y2 = boxes.T
    keep = (x2 - x1 >= min_size) & (y2 - y1 >= min_size)
    keep &= (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
    return boxes[keep], labels[keep]


def horizontal_flip(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror left and right."""
    flipped = boxes.copy()
    flipped[:, 0], flipped[:, 2] = image.shape[1] - boxes[:, 2], image.shape[1] - boxes[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), flipped
