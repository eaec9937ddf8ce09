"""Reading COCO annotations into a light index for training and evaluation.

What counts as a training target follows RT-DETR (rtdetr_pytorch/src/data/coco/coco_dataset.py): crowd annotations are
left out, boxes are clipped to the image, and boxes without extent after clipping are dropped. Evaluation reads the
annotation file itself, where crowds still are.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from parity.data.entries import Document
from parity.data.names import leaves
from parity.errors import UserError
from parity.files import read_json

LABEL_SPACES = ("contiguous", "coco_id")


@dataclass(frozen=True)
class Category:
    """A class as the source calls it."""

    id: int
    name: str


@dataclass
class ImageRecord:
    """One image with its training targets.

    boxes   float32 [n, 4]  absolute xyxy pixels, clipped to the image
    labels  int64   [n]     class index of the model's head
    white   the value that is shown as white, for a file of more than 8 bits (parity.data.depth)
    """

    id: int
    file_name: str
    path: Path
    width: int
    height: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: int = 0  # annotations left out because they are crowds
    dropped: int = 0  # annotations left out because nothing of their box lies inside the image
    white: float | None = None


@dataclass
class Dataset:
    """One split: images in the order of their ids, and the label map of the model."""

    annotations: Path
    images: dict[int, ImageRecord]
    categories: list[Category]
    label_space: str

    @property
    def ids(self) -> list[int]:
        """Image ids in ascending order."""
        return list(self.images)

    @property
    def label_of(self) -> dict[int, int]:
        """Category id -> class index of the model's head."""
        return label_map([c.id for c in self.categories], self.label_space)

    @property
    def category_of(self) -> dict[int, int]:
        """Class index of the model's head -> category id."""
        return {label: category for category, label in self.label_of.items()}

    @property
    def class_names(self) -> dict[int, str]:
        """Class index of the model's head -> name."""
        names = {c.id: c.name for c in self.categories}
        return {label: names[category] for label, category in self.category_of.items()}

    def __len__(self) -> int:
        return len(self.images)


def label_map(category_ids: list[int], label_space: str) -> dict[int, int]:
    """Category id -> class index: the rank among sorted ids (`contiguous`) or the id itself (`coco_id`, as in DETR)."""
    if label_space == "contiguous":
        return {category: label for label, category in enumerate(sorted(category_ids))}
    if label_space == "coco_id":
        return {category: category for category in sorted(category_ids)}
    raise UserError(f"label_space: {label_space!r} is unknown, expected one of {', '.join(LABEL_SPACES)}")


def class_names(annotations: str | Path) -> dict[int, str]:
    """Category id -> name of an annotation file, in the order of ids."""
    return {c.id: c.name for c in _categories(read_document(annotations), Path(annotations))}


def open_split(root: str | Path, split: str, label_space: str = "contiguous") -> Dataset:
    """Read `annotations/<split>.json` and `images/<split>/` of a neutral dataset folder."""
    root = Path(root)
    return load(root / "annotations" / f"{split}.json", root / "images" / split, label_space)


def load(annotations: str | Path, images: str | Path | None, label_space: str = "contiguous") -> Dataset:
    """Read a COCO annotation file. `images` is the folder of the images, or None to look for no image file.

    Raises UserError naming the file and the entry for anything malformed: missing keys, duplicate or unknown ids,
    boxes that are not four finite numbers, image files that are not there.
    """
    return index(read_document(annotations), Path(annotations), images, label_space)


def index(document: dict[str, Any], path: Path, images: str | Path | None, label_space: str = "contiguous") -> Dataset:
    """The same for a document that was read from `path` already."""
    categories = _categories(document, path)
    labels = label_map([c.id for c in categories], label_space)
    folder = None if images is None else Path(images)
    records = _images(document, path, folder)
    targets: dict[int, list[tuple[list[float], int]]] = {image_id: [] for image_id in records}
    seen: set[int] = set()
    for position, annotation in enumerate(document["annotations"]):
        where = f"{path}: annotations[{position}]"
        image_id, category, box, crowd = _annotation(annotation, where, records, labels, seen)
        record = records[image_id]
        if crowd:
            record.crowd += 1
            continue
        clipped = clip_box(box, record.width, record.height)
        if clipped is None:
            record.dropped += 1
        else:
            targets[image_id].append((clipped, labels[category]))
    for image_id, found in targets.items():
        if found:
            records[image_id].boxes = np.asarray([box for box, _ in found], np.float32)
            records[image_id].labels = np.asarray([label for _, label in found], np.int64)
    return Dataset(path, {image_id: records[image_id] for image_id in sorted(records)}, categories, label_space)


def clip_box(xywh: list[float], width: int, height: int) -> list[float] | None:
    """xyxy of a COCO box clipped to the image, or None when nothing is left of it."""
    x, y, w, h = xywh
    x1, x2 = min(max(x, 0.0), width), min(max(x + w, 0.0), width)
    y1, y2 = min(max(y, 0.0), height), min(max(y + h, 0.0), height)
    return [x1, y1, x2, y2] if x2 > x1 and y2 > y1 else None


def read_document(path: str | Path) -> Document:
    """The JSON object of a COCO file; images, annotations and categories are lists, nothing in them is checked."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise UserError(
            f"{path}: holds a {type(document).__name__}, expected a COCO object with images, annotations, categories"
        )
    for key in ("images", "annotations", "categories"):
        if key not in document:
            raise UserError(f"{path}: has no key {key!r}, expected images, annotations and categories")
        if not isinstance(document[key], list):
            raise UserError(f"{path}: {key} is a {type(document[key]).__name__}, expected a list")
    return document


def category(entry: Any, where: str) -> Category:
    """One entry of `categories`, or UserError."""
    identity, name = _integer(entry, "id", where), entry.get("name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: name is {name!r}, expected text")
    return Category(identity, name)


def image_entry(entry: Any, where: str) -> tuple[int, str, int, int]:
    """(id, file_name, width, height) of one entry of `images`, or UserError."""
    identity, name = _integer(entry, "id", where), entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: file_name is {name!r}, expected a file name")
    return identity, name, _integer(entry, "width", where, 1), _integer(entry, "height", where, 1)


def _categories(document: Document, path: Path) -> list[Category]:
    categories: dict[int, Category] = {}
    for position, entry in enumerate(document["categories"]):
        where = f"{path}: categories[{position}]"
        found = category(entry, where)
        if found.id in categories:
            raise UserError(f"{where}: id {found.id} is used twice")
        categories[found.id] = found
    if not categories:
        raise UserError(f"{path}: categories is empty, expected at least one class")
    return [categories[identity] for identity in sorted(categories)]


def _images(document: Document, path: Path, folder: Path | None) -> dict[int, ImageRecord]:
    records: dict[int, ImageRecord] = {}
    for position, entry in enumerate(document["images"]):
        where = f"{path}: images[{position}]"
        identity, name, width, height = image_entry(entry, where)
        if leaves(name):
            raise UserError(f"{where}: file_name {name!r} leaves the image folder, expected a path inside it")
        if identity in records:
            raise UserError(f"{where}: id {identity} is used twice")
        file = Path(name) if folder is None else folder / name
        if folder is not None and not file.is_file():
            raise UserError(f"{file}: image is missing, it is named by {where}")
        records[identity] = ImageRecord(identity, name, file, width, height, white=_white(entry, where))
    return records


def _white(entry: dict[str, Any], where: str) -> float | None:
    white = entry.get("white")
    if white is not None and (not is_number(white) or not 1 <= white <= 65535):
        raise UserError(f"{where}: white is {white!r}, expected a number from 1 to 65535")
    return white


def _annotation(
    entry: Any, where: str, records: dict[int, ImageRecord], labels: dict[int, int], seen: set[int]
) -> tuple[int, int, list[float], bool]:
    """(image id, category id, xywh, crowd?) of one annotation, or UserError."""
    image_id, category = _integer(entry, "image_id", where), _integer(entry, "category_id", where)
    if image_id not in records:
        raise UserError(f"{where}: image_id {image_id} is not among the images")
    if category not in labels:
        raise UserError(f"{where}: category_id {category} is not among the categories")
    if "id" in entry:
        identity = _integer(entry, "id", where)
        if identity in seen:
            raise UserError(f"{where}: id {identity} is used twice")
        seen.add(identity)
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise UserError(f"{where}: iscrowd is {crowd!r}, expected 0 or 1")
    return image_id, category, finite_box(entry.get("bbox"), where), bool(crowd)


def finite_box(box: Any, where: str) -> list[float]:
    """Four finite numbers [x, y, width, height], or UserError."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise UserError(f"{where}: bbox is {box!r}, expected four finite numbers [x, y, width, height]")
    return [float(v) for v in box]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number; true and false are not, nor is a number that no float can hold."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**300


def _integer(entry: Any, key: str, where: str, minimum: int = 0) -> int:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: is a {type(entry).__name__}, expected an object")
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UserError(f"{where}: {key} is {value!r}, expected an integer of at least {minimum}")
    return value
