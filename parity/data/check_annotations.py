"""Checking a COCO document: every problem of every entry, and the document without its unusable entries.

The strict reader (`parity.data.coco.load`) stops at the first mistake; this goes on, so that a person sees all of them
at once, and drops single boxes or images where it is clear that nothing else was meant. Other spellings of the same
value are rewritten for the strict reader: 1.0 for an id of 1, null for "no crowd", a file name of another system.
"""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from parity.data import coco, names
from parity.data.check import DROP_BOX, DROP_IMAGE, Problem, Report, counted
from parity.data.classes import LARGEST_ID
from parity.data.entries import AnnotationEntry, Document, ImageEntry
from parity.data.forms import other_form
from parity.errors import UserError

OUTSIDE = 1.0  # pixels that a box may pass the image's side by before it is noted
KEPT = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "difficult", "ignore"}  # of an annotation


def check_file(
    path: Path, folder: Path, split: str, report: Report, shown: Path | None = None, root: Path | None = None
) -> Document | None:
    """Read and check one annotation file; None when it is no COCO document at all. See `check_document`.

    `shown` is the file that messages name instead, where `path` was made from it.
    """
    try:
        return check_document(coco.read_document(path), shown or path, folder, split, report, root)
    except UserError as error:
        report.add("annotation file", split, path, "", _without(str(error), path))
        return None


def check_document(
    document: Document, path: Path, folder: Path, split: str, report: Report, root: Path | None = None
) -> Document:
    """Add the document's problems to `report` and return it without the images and annotations that are dropped.

    The entries of `document` are changed in place: only the keys that a detector reads stay. `path` is the file that
    messages name, `folder` holds the images, `root` the dataset.
    """
    since = len(report.problems)
    categories = _categories(document["categories"], path, split, report)
    images, named = _images(document["images"], path, folder, root, split, report)
    kept = _annotations(document["annotations"], images, named, categories, path, split, report)
    _totals(document["annotations"], kept, images, categories, path, split, report, since)
    report.limit_drops(DROP_IMAGE, split, path, "images", len(document["images"]), since)
    report.limit_drops(DROP_BOX, split, path, "boxes", len(document["annotations"]), since)
    if any(p.kind == "annotation id" for p in report.problems[since:]):
        for position, entry in enumerate(kept, 1):
            entry["id"] = position
    if max(images, default=0) > LARGEST_ID:
        _number_anew(images, kept, path, split, report)
    return {key: _finite(value) for key, value in document.items() if key in ("info", "licenses")} | {
        "images": list(images.values()),
        "annotations": kept,
        "categories": [_finite(entry) for entry in document["categories"]],
    }


def _without(message: str, path: Path | str) -> str:
    return message.removeprefix(f"{path}: ")


def _finite(value: Any) -> Any:
    """A JSON value with null for every number that is not finite: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _whole(entry: Any, *keys: str) -> None:
    """Make integers of floats without a fraction: tables write 1.0 for 1 where a column has a gap."""
    if isinstance(entry, dict):
        for key in keys:
            value = entry.get(key)
            if isinstance(value, float) and value.is_integer():
                entry[key] = int(value)


def _categories(entries: list[Any], path: Path, split: str, report: Report) -> dict[int, str]:
    found: dict[int, str] = {}
    ids: dict[str, int] = {}
    for position, entry in enumerate(entries):
        where = f"categories[{position}]"
        _whole(entry, "id")
        try:
            category = coco.category(entry, where)
        except UserError as error:
            report.add("annotation file", split, path, where, _without(str(error), where))
            continue
        if category.id in found:
            report.add("duplicate id", split, path, where, f"category id {category.id} is used twice")
        elif category.name in ids:
            message = f"the name {category.name!r} has the ids {ids[category.name]} and {category.id}"
            report.add("class name twice", split, path, where, f"{message}; expected one id for a class")
        found[category.id] = category.name
        ids[category.name] = category.id
    if not entries:
        report.add("empty", split, path, "categories", "holds no category")
    gaps = _gaps(sorted({0, *found}))
    if gaps:
        report.add("category ids with gaps", split, path, "categories", f"no category has the id {gaps}")
    if len(found) == 1:
        report.add("one class only", split, path, "categories", f"the only class is {next(iter(found.values()))}")
    return found


def _gaps(ids: list[int], most: int = 10) -> str:
    """The first numbers between sorted ids, as text; the work does not grow with the size of an id."""
    missing: list[int] = []
    for before, after in pairwise(ids):
        missing += range(before + 1, min(after, before + 2 + most))
    return ", ".join(map(str, missing[:most])) + (", ..." if len(missing) > most else "")


def _images(
    entries: list[Any], path: Path, folder: Path, root: Path | None, split: str, report: Report
) -> tuple[dict[int, ImageEntry], set[int]]:
    """Usable image entries by id, and the ids of all."""
    usable: dict[int, ImageEntry] = {}
    named: set[int] = set()
    files: dict[str, tuple[int, int]] = {}  # name -> position and id of the entry that has it
    for position, entry in enumerate(entries):
        where = f"images[{position}]"
        _whole(entry, "id", "width", "height")
        try:
            identity, name, _, _ = coco.image_entry(entry, where)
        except UserError as error:
            report.add("annotation file", split, path, where, _without(str(error), where))
            continue
        if identity in named:
            report.add("duplicate id", split, path, where, f"image id {identity} is used twice")
            continue
        named.add(identity)
        found = names.find(name, folder, root)
        if found is None:
            _missing(name, folder, identity, path, where, split, report)
            continue
        if found in files:
            at, other = files[found]
            message = f"{found} is named by images[{at}] (id {other}) and again (id {identity}); expected one entry"
            report.add("file named twice", split, path, where, f"{message} with all its annotations")
            continue
        files[found] = (position, identity)
        if found != name:
            report.add("file name", split, path, where, f"{name!r} is read as {found!r}")
        usable[identity] = _finite(entry) | {"file_name": found}
    if not entries:
        report.add("empty", split, path, "images", "holds no image")
    return usable, named


def _missing(name: str, folder: Path, identity: int, path: Path, where: str, split: str, report: Report) -> None:
    """Say that an image is not there, or that its name leads elsewhere."""
    if names.leaves(name):
        last = name.replace("\\", "/").rpartition("/")[2]
        hint = f"; {last!r} is there" if last and names.is_file(folder / last) else ""
        message = f"file_name {name!r} leaves the image folder {folder}, expected a path inside it{hint}"
        report.add("unsafe path", split, path, where, message)
        return
    try:
        link = ", it is a link that leads nowhere or to itself" if (folder / name).is_symlink() else ""
    except OSError:
        link = ""
    report.add("image missing", split, folder / name, identity, f"there is no such file{link}")


def _annotations(
    entries: list[Any],
    images: dict[int, ImageEntry],
    named: set[int],
    categories: dict[int, str],
    path: Path,
    split: str,
    report: Report,
) -> list[AnnotationEntry]:
    kept, seen = [], set()
    for position, entry in enumerate(entries):
        where = f"annotations[{position}]"
        if not isinstance(entry, dict):
            report.add("annotation file", split, path, where, f"is a {type(entry).__name__}, expected an object")
            continue
        where = f"{where} id {entry['id']}" if "id" in entry else where
        _whole(entry, "id", "image_id", "category_id")
        image = entry.get("image_id")
        if isinstance(image, bool) or not isinstance(image, int) or image not in named:
            kind = "" if isinstance(image, int) else ", and no whole number"
            message = f"image_id {image!r} is not among the images{kind}"
            report.add("annotation without image", split, path, where, message)
            continue
        if image not in images:
            continue  # dropped together with its image
        category = entry.get("category_id")
        if isinstance(category, bool) or not isinstance(category, int) or category not in categories:
            report.add("category", split, path, where, f"category_id {category!r} is not among the categories")
            continue
        crowd = entry.get("iscrowd") or 0  # null means 0: tables write it for an empty cell
        if isinstance(crowd, list | dict) or crowd not in (0, 1):
            message = f"iscrowd is {entry['iscrowd']!r}, expected 0 or 1"
            report.add("annotation file", split, path, where, message)
            continue
        if _box_stays(entry.get("bbox"), images[image], path, split, where, report):
            identity = entry.get("id")
            if (
                isinstance(identity, bool)
                or not isinstance(identity, int)
                or identity in seen
                or not 0 <= identity <= LARGEST_ID
            ):
                report.add("annotation id", split, path, where, f"id is {identity!r}")
            seen.add(identity if isinstance(identity, int) else None)
            kept.append(_reduced(entry, int(crowd), path, split, where, report))
    return kept


def _reduced(entry: AnnotationEntry, crowd: int, path: Path, split: str, where: str, report: Report) -> AnnotationEntry:
    """Check the parts of an annotation that a box detector and its evaluation read."""
    box, area = entry["bbox"], entry.get("area", ...)
    if area is ... or not coco.is_number(area) or area < 0:
        if area is not ...:
            report.add("area", split, path, where, f"area is {area!r}, expected a number; width times height is taken")
        area = box[2] * box[3]
    entry |= {"iscrowd": crowd, "area": area}
    if entry.keys() <= KEPT:
        return entry
    return {key: value for key, value in entry.items() if key in KEPT}


def _box_stays(box: Any, image: ImageEntry, path: Path, split: str, where: str, report: Report) -> bool:
    """Whether a box can be used; adds what is wrong with it."""
    try:
        x, y, w, h = coco.finite_box(box, where)
    except UserError as error:
        report.add("box not finite", split, path, where, _without(str(error), where))
        return False
    width, height = image["width"], image["height"]
    if w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return True
    at = f"image {image['id']} ({image['file_name']}), box {[x, y, w, h]}"
    if w < 0 or h < 0:
        report.add("box inverted", split, path, where, f"{at}: width or height is negative")
    elif w == 0 or h == 0:
        report.add("box without area", split, path, where, f"{at}: width or height is 0")
    elif coco.clip_box([x, y, w, h], width, height) is None:
        report.add("box outside", split, path, where, f"{at}: lies outside of {width} x {height} pixels")
    else:
        if min(x, y) < -OUTSIDE or x + w > width + OUTSIDE or y + h > height + OUTSIDE:
            report.add("box partly outside", split, path, where, f"{at}: ends outside of {width} x {height} pixels")
        return True
    return False


def _totals(
    entries: list[Any],
    kept: list[AnnotationEntry],
    images: dict[int, ImageEntry],
    categories: dict[int, str],
    path: Path,
    split: str,
    report: Report,
    since: int,
) -> None:
    """Find the problems that show only over all annotations together."""
    annotated = {entry["image_id"] for entry in kept}
    for identity, image in images.items():
        if identity not in annotated:
            report.add("image without annotations", split, image["file_name"], identity, "shows no object")
    crowds = Counter(entry["image_id"] for entry in kept if entry["iscrowd"])
    for identity, count in crowds.items():
        report.add("crowd", split, images[identity]["file_name"], identity, f"crowd annotations: {count}")
    objects = [entry for entry in kept if not entry["iscrowd"]]
    if images and not objects:
        lost = [p for p in report.problems[since:] if p.effect == DROP_BOX]
        report.add("empty", split, path, "annotations", f"no image shows an object{_why(entries, kept, lost)}")
    used = {entry["category_id"] for entry in objects}
    for identity, name in categories.items():
        if objects and identity not in used:
            report.add("class without objects", split, path, f"category {identity}", f"no object is a {name}")
    if objects and all(0 <= value <= 1.01 for entry in objects for value in entry["bbox"]):
        message = "no box reaches beyond 1, so they are parts of the image; expected pixels"
        report.add("normalised boxes", split, path, "annotations", message)
    elif objects:
        sizes = [(images[entry["image_id"]]["width"], images[entry["image_id"]]["height"]) for entry in objects]
        wrong = other_form([entry["bbox"] for entry in objects], sizes, "size")
        if wrong:
            report.add("form of boxes", split, path, "annotations", wrong)


def _why(entries: list[Any], kept: list[AnnotationEntry], lost: list[Problem]) -> str:
    """Why no object is left of a file's annotations."""
    if not entries:
        return ": the file holds no annotation"
    if lost:
        first = f"the first is {lost[0].line()}"
        return f": {len(lost)} of {len(entries)} annotations cannot be used: {counted(lost)}; {first}"
    return f": all {len(kept)} annotations are crowds (iscrowd 1), which are no training targets" if kept else ""


def _number_anew(
    images: dict[int, ImageEntry], kept: list[AnnotationEntry], path: Path, split: str, report: Report
) -> None:
    """Give images ids from 1 on, in the order of the old ones, which stay in the entries as text."""
    ids = {old: new for new, old in enumerate(sorted(images), 1)}
    message = f"image id {max(images)} does not fit into 64 bits; images are numbered anew, from 1"
    report.add("ids numbered anew", split, path, "images", message)
    for old, entry in images.items():
        entry |= {"id": ids[old], "source_id": str(old)}
    for entry in kept:
        entry["image_id"] = ids[entry["image_id"]]
