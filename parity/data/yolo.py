"""YOLO text annotations (`data.yaml`, one text file per image) as a source of the neutral dataset.

The path of a label file is that of its image, with `labels` in place of the last `images` (`yolo_labels` reads it). An
image without label file shows no object. Category ids are class indices plus one.
(docs.ultralytics.com/datasets/detect; nothing of that code is used.)

Paths in data.yaml may have any form that exports have: relative to the root, to `path` or to the file's own folder,
with `../` in front as Roboflow writes it, or absolute. They must end inside the root.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from parity.config.data import YoloSource
from parity.config.layers import read_yaml
from parity.data import names as file_names
from parity.data import subset
from parity.data.check import DROP_IMAGE, Report
from parity.data.freshness import Sources, walk
from parity.data.manifest import SPLITS
from parity.data.yolo_labels import SUFFIXES, Folder, Label, judge, keypoints, label_file, read_labels
from parity.errors import UserError
from parity.files import read_lines

TURNED = range(5, 9)  # EXIF orientations that swap width and height

DEFAULTS = {"name": "yolo"} | YoloSource().whole()


def write_yolo(config: Mapping[str, Any], out: Path, report: Report, sources: Sources) -> None:
    """Write the dataset that `config` (keys of DEFAULTS) describes into the folder `out`.

    Where data.yaml names no `val`, both splits are drawn from `train`.
    """
    if not config["root"] or not Path(config["root"]).is_dir():
        raise UserError(f"data.root: {config['root']!r} is not a folder, expected that of a YOLO dataset")
    root = Path(config["root"])
    file = root / config["file"]
    sources.file(file)
    about = read_yaml(file)
    if not isinstance(about, dict):
        raise UserError(f"{file}: expected a mapping with train, val and names")
    names, points = class_names(about, file), keypoints(about, file)
    if not about.get("train"):
        raise UserError(f"{file}: has no train, expected a folder of images or a list of them")
    bases = _bases(about.get("path"), root, file)
    listed = {
        split: list_images(about[split], root, bases, f"{file}: {split}", sources)
        for split in SPLITS
        if about.get(split)
    }
    shared = sorted(set(listed["train"]) & set(listed.get("val", [])))
    if shared:
        raise UserError(f"{file}: {shared[0]} is in both splits")
    ids = {path: rank for rank, path in enumerate(sorted({p for paths in listed.values() for p in paths}), 1)}
    documents = {}
    for split, paths in listed.items():
        since = len(report.problems)
        documents[split] = _document(paths, ids, names, points, root, split, report, sources)
        report.limit_drops(DROP_IMAGE, split, file, "images", len(paths), since)
    report.stop_if_needed()
    if "val" not in documents:
        documents["val"] = documents.pop("train")
        if not config["train_images"] or not config["val_images"]:
            raise UserError(f"{file}: has no val; set data.train_images and data.val_images to draw both from train")
    subset.write_converted(documents, file, ".", config, out, report, sources)


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
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        places = " and ".join(str(i) for i, name in enumerate(names) if name == twice)
        raise UserError(f"{file}: names has {twice!r} as {places}, expected one index for a class")
    if about.get("nc", len(names)) != len(names):
        raise UserError(f"{file}: nc is {about['nc']!r}, but names has {len(names)}: {', '.join(names[:20])}")
    return names


def _bases(path: Any, root: Path, file: Path) -> list[Path]:
    """Folders that a path of data.yaml may be relative to. `path` counts where it leads somewhere inside the root."""
    bases = [root]
    if isinstance(path, str) and path and (place := _inside(path, [root, file.parent], root)) is not None:
        bases.append(root / place)
    return [*bases, file.parent]


def list_images(given: Any, root: Path, bases: list[Path], where: str, sources: Sources) -> list[str]:
    """Paths relative to `root` of the images that an entry of data.yaml names: folders, text files, lists of both."""
    found: list[str] = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, str) or not entry:
            raise UserError(f"{where} is {given!r}, expected a folder of images or a text file that lists them")
        place = root / _required(entry, bases, root, where)
        if place.is_dir():
            sources.folder(place, SUFFIXES)
            paths = sorted(place / path for path in walk(place) if path.lower().endswith(SUFFIXES))
            if not paths:
                raise UserError(f"{where}: {place} holds no image")
            found += [path.relative_to(root).as_posix() for path in paths if path.is_file()]
        else:
            sources.file(place)
            lines = [line.strip() for line in read_lines(place)]
            found += [_required(line, [root, place.parent, *bases], root, str(place)) for line in lines]
    twice = next((path for path, count in Counter(found).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{where}: names {twice} twice")
    if not found:
        raise UserError(f"{where}: names no image")
    return found


def _required(text: str, bases: list[Path], root: Path, where: str) -> str:
    """A path of data.yaml relative to the root. If nothing is there, it is used as written, unless it leaves."""
    found = _inside(text, bases, root)
    if found is not None:
        return found
    path = PurePosixPath(text.strip())
    if file_names.leaves(text.strip()):
        raise UserError(f"{where}: {text!r} leaves the dataset's folder, expected a path inside {root}")
    return path.as_posix()


def _inside(text: str, bases: list[Path], root: Path) -> str | None:
    """The place of a path of data.yaml, relative to the root; None where nothing is there."""
    tops = list(dict.fromkeys([os.path.abspath(root), os.path.realpath(root)]))
    for form in file_names.forms(os.path.expanduser(text.strip())):
        stripped = "/".join(part for part in form.split("/") if part != "..")  # ../train/images of an export
        for base, name in [*((base, form) for base in bases), (root, stripped)]:
            place = os.path.normpath(os.path.join(os.path.abspath(base), name))
            top = next((top for top in tops if place == top or place.startswith(top + os.sep)), None)
            if top is not None and os.path.exists(place):
                return PurePosixPath(os.path.relpath(place, top)).as_posix()
    return None


def _document(
    paths: list[str],
    ids: Mapping[str, int],
    names: list[str],
    points: tuple[int, int] | None,
    root: Path,
    split: str,
    report: Report,
    sources: Sources,
) -> dict[str, Any]:
    """COCO document of one split without the images that cannot be used; problems go to `report`.

    An image that a viewer turns by a quarter is left out: its labels mean that view, while training reads the stored
    pixels.
    """
    images, annotations = [], []
    folders: dict[str, Folder] = {}
    labelled = 0
    found: list[tuple[Label, tuple[int, int]]] = []
    for path in paths:
        expected = PurePosixPath(label_file(path))
        place = expected.parent.as_posix()
        if place not in folders:
            folders[place] = Folder(root, place, PurePosixPath(path).parent.as_posix(), sources)
        size = _size(root / path, ids[path], split, report, sources)
        if size is None:
            continue
        images.append({"id": ids[path], "file_name": path, "width": size[0], "height": size[1]})
        text = folders[place].of(path)
        if text is None:
            continue
        labels = root / text
        sources.file(labels)
        labelled += 1
        if labels.name != expected.name:
            report.add("file name", split, labels, ids[path], f"is read as the labels of {path}")
        try:
            objects = read_labels(labels, len(names), size, points)
        except UserError as error:
            report.add("annotation file", split, labels, ids[path], str(error).removeprefix(f"{labels}: "))
            continue
        for label in objects:
            found.append((label, size))
            if label.beyond:
                shown = " ".join(f"{value:g}" for value in label.values[:8])
                message = f"line {label.line}: {shown} passes the image by less than a pixel, clipped"
                report.add("box beyond one", split, labels, ids[path], message)
            x1, y1, x2, y2 = (part * size[axis % 2] for axis, part in enumerate(label.corners))
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": ids[path], "category_id": label.index + 1, "iscrowd": 0}
                | {"bbox": box, "area": box[2] * box[3]}
            )
    for folder in folders.values():
        folder.report(split, report)
    if 2 * len(images) > len(paths) and not labelled:  # otherwise the missing images are the mistake
        report.add("empty", split, root, "labels", _without_labels(images[0]["file_name"], root))
    if wrong := judge(found, points):
        report.add(wrong[0], split, root / next(iter(folders)), "labels", wrong[1])
    categories = [{"id": position, "name": name} for position, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _size(path: Path, identity: int, split: str, report: Report, sources: Sources) -> tuple[int, int] | None:
    """(width, height) of an image, or None for one that is left out."""
    sources.file(path)
    try:
        with Image.open(path) as picture:
            size, turned = picture.size, picture.getexif().get(0x0112) in TURNED
    except Image.DecompressionBombError as error:
        report.add("image too large", split, path, identity, str(error))
    except (OSError, SyntaxError, ValueError) as error:
        report.add("image unreadable", split, path, identity, f"cannot be read as an image: {error}")
    else:
        if not turned:
            return size
        report.add("image size", split, path, identity, "is stored lying on its side, save it upright")
    return None


def _without_labels(image: str, root: Path) -> str:
    """The message where no image has labels: the path that was expected, and where such a file lies."""
    expected = label_file(image)
    name = PurePosixPath(expected).name
    other = next((path for path in walk(root) if PurePosixPath(path).name == name), None)
    hint = f"; {other} is there, its folder has another name" if other else ""
    return f"no image shows an object: no image has a label file, expected {expected} for {image}{hint}"
