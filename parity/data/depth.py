"""Pixels of more than eight bits: which value is white, and how they become the eight bits that training reads.

Pillow's own conversion cuts at 255, which turns a 16-bit image white and one of floats from 0 to 1 black. A camera of
12 bits writes 16-bit files that use a sixteenth of the range. The file does not say which value is white, so the
dataset decides: the smallest usual range that holds every value of its deep images. `check_images` finds it and writes
it into the image's entry as `white`; the loader scales with it.
"""

import numpy as np
from PIL import Image

WHITE = {"whole": (255, 1023, 4095, 16383, 65535), "float": (1, 255, 4095, 65535)}  # usual ranges, by kind of number
DEEP = ("I", "F")  # first letters of Pillow's modes with more than eight bits: I, I;16, I;16B, F


def is_deep(picture: Image.Image) -> bool:
    """Whether the pixels have more than eight bits."""
    return picture.mode.startswith(DEEP)


def kind_of(mode: str) -> str:
    """Key of WHITE for a mode of Pillow."""
    return "float" if mode == "F" else "whole"


def largest_value(picture: Image.Image) -> float:
    """The largest pixel. Raises ValueError where a value is negative, not finite or beyond every usual range."""
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    most = WHITE[kind_of(picture.mode)][-1]
    if not low >= 0 or not high <= most:  # NaN is neither
        found = "not all finite" if not np.isfinite([low, high]).all() else f"from {low:g} to {high:g}"
        raise ValueError(f"its values are {found}, expected 0 to {most}")
    return high


def white_of(largest: float, kind: str) -> int:
    """The smallest usual range that holds `largest`."""
    return next(white for white in WHITE[kind] if largest <= white)


def to_eight_bits(picture: Image.Image, white: float) -> Image.Image:
    """A deep image as 8-bit grey, `white` becoming 255. Whole numbers lose their lower bits, as Pillow does in RGB."""
    values = np.asarray(picture)
    if kind_of(picture.mode) == "float":
        return Image.fromarray(np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8))
    return Image.fromarray((values.clip(0, white).astype(np.int64) >> (int(white).bit_length() - 8)).astype(np.uint8))
