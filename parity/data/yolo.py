"""YOLO text annotations (`data.yaml`, one text file per image) as a source of the neutral dataset.

A label file lies where its image does, with `labels` for the last `images` in the path, and holds a line per object:
class index, then centre x, centre y, width and height as parts of the image's sides, or the corners of a polygon, whose
bounding box is taken. An image without label file shows no object. Category ids are class indices plus one.
(docs.ultralytics.com/datasets/detect; nothing of that code is used.)
"""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from parity.config.data import YoloSource
from parity.config.layers import read_yaml
from parity.data import subset
from parity.data.check import DROP_IMAGE, Report
from parity.data.manifest import SPLITS
from parity.errors import UserError
from parity.files import read_lines

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
TURNED = range(5, 9)  # EXIF orientations that swap width and height
SLACK = 1e-6  # how far a coordinate may pass the image's side by rounding

DEFAULTS = {"name": "yolo"} | YoloSource().whole()


def write_yolo(config: Mapping[str, Any], out: Path, report: Report) -> None:
    """Write the dataset that `config` (keys of DEFAULTS) describes into the folder `out`.

    Where data.yaml names no `val`, both splits are drawn from `train`.
    """
    if not config["root"] or not Path(config["root"]).is_dir():
        raise UserError(f"data.root: {config['root']!r} is not a folder, expected that of a YOLO dataset")
    root = Path(config["root"])
    file = root / config["file"]
    about = read_yaml(file)
    if not isinstance(about, dict):
        raise UserError(f"{file}: expected a mapping with train, val and names")
    names = class_names(about, file)
    if not about.get("train"):
        raise UserError(f"{file}: has no train, expected a folder of images or a list of them")
    listed = {split: list_images(about[split], root, f"{file}: {split}") for split in SPLITS if about.get(split)}
    shared = sorted(set(listed["train"]) & set(listed.get("val", [])))
    if shared:
        raise UserError(f"{file}: {shared[0]} is in both splits")
    ids = {path: rank for rank, path in enumerate(sorted({p for paths in listed.values() for p in paths}), 1)}
    documents = {split: _document(paths, ids, names, root, split, report) for split, paths in listed.items()}
    for split, paths in listed.items():
        report.limit_drops(DROP_IMAGE, split, file, "images", len(paths), 0)
    report.stop_if_needed()
    if "val" not in documents:
        documents["val"] = documents.pop("train")
        if not config["train_images"] or not config["val_images"]:
            raise UserError(f"{file}: has no val; set data.train_images and data.val_images to draw both from train")
    subset.write_converted(documents, file, ".", config, out, report)


def class_names(about: Mapping[str, Any], file: Path) -> list[str]:
    """Class names by index, from a list or from a mapping of all indices from 0 on."""
    names = about.get("names")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise UserError(f"{file}: names has the indices {sorted(map(str, names))}, expected 0 to {len(names) - 1}")
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(
            f"{file}: names is {names!r}, expected the names of the classes, numbers and yes or no in quotes"
        )
    if about.get("nc", len(names)) != len(names):
        raise UserError(f"{file}: nc is {about['nc']!r}, but names has {len(names)}")
    return names


def list_images(given: Any, root: Path, where: str) -> list[str]:
    """Paths relative to `root` of the images that an entry of data.yaml names: folders, text files, lists of both."""
    found: list[str] = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, str) or not entry:
            raise UserError(f"{where} is {given!r}, expected a folder of images or a text file that lists them")
        place = root / _inside(entry, where)
        if place.is_dir():
            paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            if not paths:
                raise UserError(f"{where}: {place} holds no image")
            found += [path.relative_to(root).as_posix() for path in paths]
        else:
            found += [_inside(line, str(place)) for line in read_lines(place)]
    if len(set(found)) != len(found):
        raise UserError(f"{where}: names {next(p for p in found if found.count(p) > 1)} twice")
    if not found:
        raise UserError(f"{where}: names no image")
    return found


def _inside(text: str, where: str) -> str:
    """A path inside the dataset's folder, without a leading `./`."""
    path = PurePosixPath(text.strip())
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{where}: {text!r} leaves the dataset's folder, expected a path inside it")
    return path.as_posix()


def label_file(image: str) -> str:
    """Path of the labels of an image, both relative to the dataset's folder."""
    path = PurePosixPath(image)
    parts = list(path.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return PurePosixPath(*parts).with_suffix(".txt").as_posix()


def read_labels(path: Path, classes: int) -> list[tuple[int, list[float]]]:
    """(class index, [x1, y1, x2, y2] in parts of the image) of every object; a line that stands twice counts once."""
    objects: dict[tuple, tuple[int, list[float]]] = {}
    for position, line in enumerate(read_lines(path), 1):
        where, words = f"{path}: line {position}", line.split()
        try:
            numbers = [float(word) for word in words]
        except ValueError as error:
            raise UserError(f"{where}: {line.strip()!r}, expected numbers") from error
        if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
            raise UserError(f"{where}: has {len(numbers)} numbers, expected a class and a box of four, or a polygon")
        index, values = numbers[0], numbers[1:]
        if index % 1 or not 0 <= index < classes:
            raise UserError(f"{where}: class {words[0]} is not among the {classes} names (0 to {classes - 1})")
        if not all(math.isfinite(v) and -SLACK <= v <= 1 + SLACK for v in values):
            raise UserError(f"{where}: {' '.join(words[1:])} are not parts of the image, expected numbers from 0 to 1")
        if len(values) == 4:
            x, y, w, h = values
            corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        else:
            corners = [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
        objects[tuple(numbers)] = (int(index), corners)
    return list(objects.values())


def _document(
    paths: list[str], ids: Mapping[str, int], names: list[str], root: Path, split: str, report: Report
) -> dict[str, Any]:
    """COCO document of one split without the images that cannot be used; what is wrong goes to `report`.

    An image that a viewer turns by a quarter goes: its labels mean that view, while training reads the stored pixels.
    """
    images, annotations = [], []
    for path in paths:
        try:
            with Image.open(root / path) as picture:
                width, height = picture.size
                turned = picture.getexif().get(0x0112) in TURNED
        except Image.DecompressionBombError as error:
            report.add("image too large", split, root / path, ids[path], str(error))
            continue
        except (OSError, SyntaxError, ValueError) as error:
            report.add("image unreadable", split, root / path, ids[path], f"cannot be read as an image: {error}")
            continue
        if turned:
            report.add("image size", split, root / path, ids[path], "is stored lying on its side, save it upright")
            continue
        images.append({"id": ids[path], "file_name": path, "width": width, "height": height})
        labels = root / label_file(path)
        try:
            objects = read_labels(labels, len(names)) if labels.exists() else []
        except UserError as error:
            report.add("annotation file", split, labels, ids[path], str(error).removeprefix(f"{labels}: "))
            continue
        for index, (x1, y1, x2, y2) in objects:
            box = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": ids[path], "category_id": index + 1, "iscrowd": 0}
                | {"bbox": box, "area": box[2] * box[3]}
            )
    categories = [{"id": position, "name": name} for position, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}
