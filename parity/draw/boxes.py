"""Detections drawn into an image: boxes in the colour of their class, with name and score."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GOLDEN = 0.618033988749895  # steps of this share of the colour circle keep neighbouring classes apart


def colour(index: int) -> tuple[int, int, int]:
    """RGB of the `index`-th class: the same class has the same colour in every image."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * GOLDEN) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_size(image: np.ndarray) -> int:
    """Height of letters in pixels that reads well on an image [H, W, 3]."""
    return int(np.clip(max(image.shape[:2]) / 45, 11, 40))


def draw(
    image: np.ndarray,
    entries: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    font: ImageFont.FreeTypeFont,
    title: str = "",
) -> Image.Image:
    """A picture of `image` (uint8 [H, W, 3]) with `entries` in COCO results format, the best score on top.

    An entry without a score, such as an annotation, is drawn with its name alone. `title` stands at the lower edge.
    """
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    order = {category: place for place, category in enumerate(sorted(names))}
    width = max(2, round(max(image.shape[:2]) / 400))
    for entry in sorted(entries, key=lambda entry: entry.get("score", 1.0)):
        x, y, w, h = entry["bbox"]
        shade = colour(order.get(entry["category_id"], 0))
        canvas.rectangle((x, y, x + max(w, 0), y + max(h, 0)), outline=shade, width=width)
        label = str(names.get(entry["category_id"], entry["category_id"]))
        label += f" {entry['score']:.2f}" if "score" in entry else ""
        _label(canvas, (x, y), label, shade, font, picture.size)
    return titled(picture, title, font) if title else picture


def titled(picture: Image.Image, title: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The same picture, with `title` written at its lower left corner."""
    _label(ImageDraw.Draw(picture), (0, picture.height), title, (32, 32, 32), font, picture.size)
    return picture


def _label(canvas, place, text: str, shade, font, size: tuple[int, int]) -> None:
    """`text` on a filled box whose lower left corner is `place`, moved so that it stays inside the picture."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(place[0], 0), max(size[0] - width, 0))
    y = min(max(place[1] - height, 0), max(size[1] - height, 0))
    canvas.rectangle((x, y, x + width, y + height), fill=shade)
    dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 130
    canvas.text((x + 2 - left, y + 2 - top), text, font=font, fill="white" if dark else "black")


def beside(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures side by side, their upper edges in line, `gap` white pixels apart."""
    width, height = sum(p.width for p in pictures) + gap * (len(pictures) - 1), max(p.height for p in pictures)
    whole = Image.new("RGB", (width, height), "white")
    x = 0
    for picture in pictures:
        whole.paste(picture, (x, 0))
        x += picture.width + gap
    return whole


def stacked(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures one below the other, their left edges in line, `gap` white pixels apart."""
    width, height = max(p.width for p in pictures), sum(p.height for p in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (width, height), "white")
    y = 0
    for picture in pictures:
        whole.paste(picture, (0, y))
        y += picture.height + gap
    return whole
