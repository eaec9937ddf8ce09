"""A seeded dataset of shapes on textured backgrounds, in COCO format: what `make report` trains on.

Seven shapes that stay apart after resizing and rotation, drawn large enough that a small detector learns them within a
few hundred steps, yet with features of real data: overlap, three size classes, many colours, crowds and empty images.
Image i of a split depends on (seed, split, i) alone, so asking for more images leaves the first ones as they were.
Drawing uses NumPy's generator and Pillow's integer arithmetic only: the same pinned versions give the same bytes.
"""

import colorsys
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from parity.config.data import SyntheticSource
from parity.data.entries import AnnotationEntry, ImageEntry
from parity.data.manifest import SPLITS
from parity.data.plan import generator
from parity.errors import UserError
from parity.files import write_json

DEFAULTS = {"name": "shapes"} | SyntheticSource().whole()

# Ids leave gaps, as COCO's do: code that confuses ids with class indices already fails on the embedded data.
CATEGORIES = {1: "circle", 2: "square", 3: "triangle", 5: "ring", 7: "cross", 8: "star", 11: "bar"}
MOST_IMAGES = 900_000  # per split, so that the ids of the splits stay apart
SUPERSAMPLING = 4
# Side of an object as a part of the image's smaller side, with its chance: COCO's three size classes all occur.
SIDES = (((0.14, 0.22), 0.12), ((0.26, 0.44), 0.80), ((0.46, 0.58), 0.08))
MOST_COVERED = 0.3  # share of a shape that later ones may hide; COCO's own objects are hidden far more
# Every class has a favourite hue, which lets a few hundred steps suffice. Neighbouring hues overlap: about one object
# in seven has a hue nearer to another class, so that colour alone does not decide.
HUE_DEVIATION = 0.05
TRIALS = 30  # to place one object; after them the image gets fewer objects


@dataclass
class Shape:
    """One placed shape: its class, and its coverage of every pixel, uint8 [H, W]."""

    category: int
    alpha: np.ndarray

    def __post_init__(self):
        self.own = self.alpha > 127
        self.visible = self.own.copy()


def write_synthetic(config: Mapping[str, Any], out: Path, *_: object) -> None:
    """Write annotations and PNG images that `config` (keys of DEFAULTS) describes into the folder `out`."""
    _check(config)
    for split_index, split in enumerate(SPLITS):
        images: list[ImageEntry] = []
        annotations: list[AnnotationEntry] = []
        folder = out / "images" / split
        folder.mkdir(parents=True)
        source = 0 if config["val_is_train"] else split_index
        for index in range(config[f"{SPLITS[source]}_images"]):
            rng = generator(config["seed"], source, index)
            pixels, found = draw_image(config, rng)
            image_id = (split_index + 1) * 1_000_000 + index + 1
            name = f"{image_id:012d}.png"
            Image.fromarray(pixels).save(folder / name, compress_level=3)
            height, width = pixels.shape[:2]
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
            for annotation in found:
                identity = {"id": len(annotations) + 1, "image_id": image_id}
                annotations.append(identity | annotation)
        categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in CATEGORIES.items()]
        document = {
            "info": {"description": f"synthetic shapes, split {split}, seed {config['seed']}"},
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }
        write_json(out / "annotations" / f"{split}.json", document, indent=None)


def _check(config: Mapping[str, Any]) -> None:
    for split in SPLITS:
        count = config[f"{split}_images"]
        if not isinstance(count, int) or not 1 <= count <= MOST_IMAGES:
            raise UserError(f"data.{split}_images: {count!r}, expected 1 to {MOST_IMAGES}")
    for key, least, most in (("image_size", 32, 4096), ("objects", 1, 100)):
        limits = config[key]
        integers = isinstance(limits, list | tuple) and len(limits) == 2 and all(isinstance(v, int) for v in limits)
        if not integers or not least <= limits[0] <= limits[1] <= most:
            raise UserError(f"data.{key}: {limits!r}, expected two integers, {least} <= smallest <= largest <= {most}")
    for key in ("crowd_fraction", "empty_fraction"):
        if not isinstance(config[key], int | float) or not 0 <= config[key] <= 1:
            raise UserError(f"data.{key}: {config[key]!r}, expected a number from 0 to 1")
    if not isinstance(config["val_is_train"], bool):
        raise UserError(f"data.val_is_train: {config['val_is_train']!r}, expected true or false")
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise UserError(f"data.seed: {config['seed']!r}, expected a non-negative integer")


def draw_image(config: Mapping[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, list[AnnotationEntry]]:
    """One image, uint8 [H, W, 3], and its annotations without ids."""
    smallest, largest = config["image_size"]
    width, height = (int(v) for v in rng.integers(smallest, largest + 1, 2))
    canvas = _background(rng, width, height)
    if rng.random() < config["empty_fraction"]:
        return canvas.round().astype(np.uint8), []
    crowd = _crowd(rng, canvas) if rng.random() < config["crowd_fraction"] else None
    shapes: list[Shape] = []
    for _ in range(int(rng.integers(config["objects"][0], config["objects"][1] + 1))):
        shape = _place(rng, width, height, shapes, crowd)
        if shape is not None:
            _cover(shapes, shape)
            shapes.append(shape)
            _paint(rng, canvas, shape.alpha, shape.category)
    annotations = [_annotation(shape.category, shape.visible) for shape in shapes]
    if crowd is not None:
        annotations.append(crowd)
    noise = rng.integers(-5, 6, canvas.shape)
    return (canvas + noise).round().clip(0, 255).astype(np.uint8), annotations


# ---- background
def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float64 [H, W, 3]: two colours mixed by smooth noise of two scales, sometimes with faint stripes."""
    first, second = rng.integers(30, 226, 3), rng.integers(-45, 46, 3)
    coarse, fine = _noise(rng, width, height, 5), _noise(rng, width, height, 24)
    mix = (0.7 * coarse + 0.3 * fine)[:, :, None]
    canvas = first + second * mix + 24 * (fine - 0.5)[:, :, None]
    if rng.random() < 0.4:
        period, slope = int(rng.integers(8, 22)), int(rng.integers(-2, 3))
        rows, columns = np.mgrid[:height, :width]
        stripe = (columns + slope * rows) // period % 2
        canvas = canvas + int(rng.integers(6, 16)) * stripe[:, :, None]
    return canvas.clip(0, 255)


def _noise(rng: np.random.Generator, width: int, height: int, cells: int) -> np.ndarray:
    """Smooth noise in 0..1: a grid of random values, enlarged."""
    grid = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float64) / 255


# ---- shapes
def _outline(name: str, angle: float) -> list[list[tuple[float, float]]]:
    """Polygons of a shape around (0, 0), reaching to about 1, the second one being a hole."""

    def turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        c, s = math.cos(angle), math.sin(angle)
        return [(x * c - y * s, x * s + y * c) for x, y in points]

    def regular(corners: int, radius: float = 1.0, start: float = -90.0) -> list[tuple[float, float]]:
        turns = [math.radians(start + 360 * k / corners) for k in range(corners)]
        return [(radius * math.cos(t), radius * math.sin(t)) for t in turns]

    if name == "circle":
        return [regular(64)]
    if name == "square":
        return [turned([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)])]
    if name == "triangle":
        return [turned(regular(3))]
    if name == "ring":
        return [regular(64), regular(64, 0.55)]
    if name == "cross":
        a, b = 0.32, 1.0
        corners = [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
        return [turned(corners)]
    if name == "star":
        tips, notches = regular(5), regular(5, 0.42, -54.0)
        return [turned([point for pair in zip(tips, notches, strict=True) for point in pair])]
    return [turned([(-1.0, -0.3), (1.0, -0.3), (1.0, 0.3), (-1.0, 0.3)])]  # bar


def _alpha(name: str, angle: float, centre: tuple[float, float], radius: float, size: tuple[int, int]) -> np.ndarray:
    """Coverage uint8 [H, W] of a shape, drawn at four times the size and averaged. `size` is (width, height)."""
    k = SUPERSAMPLING
    mask = Image.new("L", (size[0] * k, size[1] * k))
    draw = ImageDraw.Draw(mask)
    for position, polygon in enumerate(_outline(name, angle)):
        points = [((centre[0] + radius * x) * k, (centre[1] + radius * y) * k) for x, y in polygon]
        draw.polygon(points, fill=0 if position else 255)
    return np.asarray(mask.resize(size, Image.Resampling.BOX))


def _place(
    rng: np.random.Generator, width: int, height: int, shapes: list[Shape], crowd: AnnotationEntry | None
) -> Shape | None:
    """A shape of a drawn class at a drawn place that leaves enough of the earlier ones (and of a crowd) visible."""
    category = int(rng.choice(list(CATEGORIES)))
    limits = SIDES[int(rng.choice(len(SIDES), p=[chance for _, chance in SIDES]))][0]
    radius = rng.uniform(*limits) * min(width, height) / 2
    name = CATEGORIES[category]
    # Only the bar turns freely; a star or a cross turned by half its symmetry would ask for far more training images.
    angle = math.radians(rng.uniform(-180, 180) if name == "bar" else rng.uniform(-20, 20))
    for _ in range(TRIALS):
        # The centre may come so near the border that a quarter of the side lies outside.
        centre = tuple(rng.uniform(0.75 * radius, side - 0.75 * radius) for side in (width, height))
        shape = Shape(category, _alpha(name, angle, centre, radius, (width, height)))
        if crowd is not None and _overlaps(shape.own, crowd["bbox"]):
            continue
        left = [(s.visible & ~shape.own).sum() / s.own.sum() for s in shapes]
        if all(part >= 1 - MOST_COVERED for part in left):
            return shape
    return None


def _overlaps(mask: np.ndarray, bbox: list[float]) -> bool:
    x, y, w, h = (int(v) for v in bbox)
    return bool(mask[y : y + h, x : x + w].any())


def _cover(shapes: list[Shape], later: Shape) -> None:
    """Hide what lies under a later shape."""
    for shape in shapes:
        shape.visible &= ~later.own


def _colour(rng: np.random.Generator, category: int) -> np.ndarray:
    """float64 [3] in 0..255: a hue near the favourite of the class, with any saturation and value but the palest."""
    hue = (list(CATEGORIES).index(category) / len(CATEGORIES) + rng.normal(0, HUE_DEVIATION)) % 1
    return 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 1), rng.uniform(0.35, 1)))


def _paint(rng: np.random.Generator, canvas: np.ndarray, alpha: np.ndarray, category: int) -> None:
    """Fill a shape with a colour that differs from its surroundings, lighter towards one side."""
    below = canvas[alpha > 127].mean(axis=0)
    colour = max((_colour(rng, category) for _ in range(4)), key=lambda c: np.abs(c - below).sum())
    height, width = alpha.shape
    rows, columns = np.mgrid[:height, :width]
    across, down = rng.uniform(-25, 25, 2)
    shade = across * (columns / width - 0.5) + down * (rows / height - 0.5)
    cover = (alpha / 255.0)[:, :, None]
    canvas += cover * ((colour + shade[:, :, None]).clip(0, 255) - canvas)


# ---- annotations
def _crowd(rng: np.random.Generator, canvas: np.ndarray) -> AnnotationEntry:
    """Draw a cluster of small shapes of one class and return its one crowd annotation."""
    height, width = canvas.shape[:2]
    category = int(rng.choice(list(CATEGORIES)))
    side = min(width, height)
    middle = [rng.uniform(0.25 * extent, 0.75 * extent) for extent in (width, height)]
    together = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(10, 17))):
        centre = tuple(m + rng.uniform(-0.2, 0.2) * side for m in middle)
        alpha = _alpha(CATEGORIES[category], math.radians(rng.uniform(-20, 20)), centre, 0.04 * side, (width, height))
        together |= alpha > 127
        _paint(rng, canvas, alpha, category)
    crowd = {"iscrowd": 1, "segmentation": run_lengths(together), "area": int(together.sum())}
    return _annotation(category, together) | crowd


def _annotation(category: int, mask: np.ndarray) -> AnnotationEntry:
    """Box of the visible part. `area` is that of the box: size classes go by it where no masks are judged."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run-length code: runs of 0 and 1 in turn, down the columns, beginning with 0."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(np.int8), [-1]])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes]))
    return {"counts": [int(c) for c in counts], "size": [int(v) for v in mask.shape]}
