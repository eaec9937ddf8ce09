"""OpenCV's two bilinear resamplers on uint8 images, restated in integers.

GFocalV2 resizes with `cv2.resize(INTER_LINEAR)`, NanoDet-Plus with `cv2.warpPerspective(INTER_LINEAR)`. Neither is
Pillow's BILINEAR, which averages when it shrinks. OpenCV computes them in fixed point, so equal integers here are equal
bytes there: `resize_linear` follows modules/imgproc/src/resize.cpp (weights of 11 bits), `warp_axes` imgwarp.cpp of
OpenCV 4 (coordinates to 1/32 pixel). The library itself would bring some 50 MB and threads of its own, beside
those of the loader, for two functions. Both gave the bytes of OpenCV 4.10 on every one of 60 random sizes and matrices.
"""

import numpy as np

WEIGHT = 2048  # one in the 11-bit fixed point of cv2.resize
PARTS = 32  # steps per pixel in the coordinates of cv2.warpPerspective


def resize_linear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, C] to (height, width) `size`: the bytes of cv2.resize with INTER_LINEAR, which never antialiases."""
    height, width = image.shape[:2]
    if (height, width) == (2 * size[0], 2 * size[1]):  # OpenCV takes the mean of 2x2 pixels for exactly one half
        pixels = image.astype(np.int32)
        rows = pixels[0::2] + pixels[1::2]
        return ((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, weights = _taps(width, size[1])
    outside = (left < 0) | (right > width - 1)  # horizontally a border pixel stands alone, vertically it is doubled
    weights[:, outside] = np.asarray([[WEIGHT], [0]])
    left, right = left.clip(0, width - 1), right.clip(0, width - 1)
    pixels = image.astype(np.int32)
    rows = pixels[:, left] * weights[0][:, None] + pixels[:, right] * weights[1][:, None]
    rows >>= 4
    upper, lower, weights = _taps(height, size[0])
    above = rows[upper.clip(0, height - 1)] * weights[0][:, None, None]
    below = rows[lower.clip(0, height - 1)] * weights[1][:, None, None]
    return (((above >> 16) + (below >> 16) + 2) >> 2).astype(np.uint8)


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both neighbours of every target pixel along one axis, not yet clipped, and their weights int32 [2, target]."""
    scale = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = position - first.astype(np.float32)
    weights = np.rint(np.stack([np.float32(1) - part, part]) * np.float32(WEIGHT)).astype(np.int32)
    return first, first + 1, weights


def warp_axes(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, C] warped to (height, width) `size`, black outside: cv2.warpPerspective without turning or shearing.

    `matrix` is [2, 2]: target x = matrix[0, 0] * x + matrix[0, 1], and row 1 for y. It maps pixel index to pixel index,
    without the half pixel of a resize; a negative factor mirrors.
    """
    (wide, left), (high, top) = matrix
    inverse = 1.0 / (wide * high)  # OpenCV divides by the determinant; the last bit decides which way a tie falls
    pixels = np.pad(image, ((1, 1), (1, 1), (0, 0))).astype(np.int32)
    first, second, part = _warp_taps(high * inverse, -left * high * inverse, image.shape[1], size[1], block=64)
    part = part[:, None]
    rows = pixels[:, first] * (PARTS - part) + pixels[:, second] * part
    first, second, part = _warp_taps(wide * inverse, -top * wide * inverse, image.shape[0], size[0], block=1)
    part = part[:, None, None]
    blend = rows[first] * (PARTS - part) + rows[second] * part
    return ((blend + PARTS * PARTS // 2) // PARTS**2).astype(np.uint8)


def _warp_taps(
    factor: float, offset: float, source: int, target: int, block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours along one axis of the image padded by one pixel, and the weight of the second in 1/32.

    OpenCV sums a coordinate from the start of a block of columns and the place in it; rows are summed in one.
    """
    index = np.arange(target)
    start = index // block * block
    position = ((factor * start + offset) + factor * (index - start)) * PARTS
    position = np.rint(position.clip(-PARTS * 2.0, PARTS * (source + 1.0))).astype(np.int64)
    before, part = position // PARTS, position % PARTS
    return before.clip(-1, source) + 1, (before + 1).clip(-1, source) + 1, part.astype(np.int32)
