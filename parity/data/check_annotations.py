"""Checking a COCO document: every problem of every entry, and the document without what cannot be used.

The strict reader (`parity.data.coco.load`) stops at the first mistake; this goes on, so that a person sees all of them
at once, and drops single boxes or images where it is clear that nothing else was meant.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from parity.data import coco
from parity.data.check import DROP_BOX, DROP_IMAGE, Report
from parity.data.entries import AnnotationEntry, Document, ImageEntry
from parity.errors import UserError

OUTSIDE = 1.0  # pixels that a box may pass the image's side before it is worth a note


def check_file(path: Path, folder: Path, split: str, report: Report, shown: Path | None = None) -> Document | None:
    """Read and check one annotation file; None when it is no COCO document at all. See `check_document`.

    `shown` is the file that messages name instead, where `path` was made from it.
    """
    try:
        return check_document(coco.read_document(path), shown or path, folder, split, report)
    except UserError as error:
        report.add("annotation file", split, path, "", _without(str(error), path))
        return None


def check_document(document: Document, path: Path, folder: Path, split: str, report: Report) -> Document:
    """Add the document's problems to `report` and return it without the images and annotations that are dropped.

    The same object is returned when nothing is dropped. `path` is the file that messages name, `folder` holds the
    images.
    """
    since = len(report.problems)
    categories = _categories(document["categories"], path, split, report)
    images, named = _images(document["images"], path, folder, split, report)
    kept = _annotations(document["annotations"], images, named, categories, path, split, report)
    _totals(kept, images, categories, path, split, report)
    report.limit_drops(DROP_IMAGE, split, path, "images", len(document["images"]), since)
    report.limit_drops(DROP_BOX, split, path, "boxes", len(document["annotations"]), since)
    renumber = any(p.kind == "annotation id" and p.split == split for p in report.problems)
    if renumber:
        kept = [entry | {"id": position} for position, entry in enumerate(kept, 1)]
    if not renumber and len(kept) == len(document["annotations"]) and len(images) == len(document["images"]):
        return document
    return document | {"images": list(images.values()), "annotations": kept}


def _without(message: str, path: Path | str) -> str:
    return message.removeprefix(f"{path}: ")


def _categories(entries: list[Any], path: Path, split: str, report: Report) -> dict[int, str]:
    found: dict[int, str] = {}
    for position, entry in enumerate(entries):
        where = f"categories[{position}]"
        try:
            category = coco.category(entry, where)
        except UserError as error:
            report.add("annotation file", split, path, where, _without(str(error), where))
            continue
        if category.id in found:
            report.add("duplicate id", split, path, where, f"category id {category.id} is used twice")
        found[category.id] = category.name
    if not entries:
        report.add("empty", split, path, "categories", "holds no category")
    gaps = sorted(set(range(min(found, default=0), max(found, default=0) + 1)) - set(found))
    if gaps:
        missing = ", ".join(map(str, gaps[:10])) + (", ..." if len(gaps) > 10 else "")
        report.add("category ids with gaps", split, path, "categories", f"no category has the id {missing}")
    if len(found) == 1:
        report.add("one class only", split, path, "categories", f"the only class is {next(iter(found.values()))}")
    return found


def _images(
    entries: list[Any], path: Path, folder: Path, split: str, report: Report
) -> tuple[dict[int, ImageEntry], set[int]]:
    """Usable image entries by id, and the ids of all."""
    usable: dict[int, ImageEntry] = {}
    named: set[int] = set()
    for position, entry in enumerate(entries):
        where = f"images[{position}]"
        try:
            identity, name, _, _ = coco.image_entry(entry, where)
        except coco.UnsafePath as error:
            report.add("unsafe path", split, path, where, _without(str(error), where))
            continue
        except UserError as error:
            report.add("annotation file", split, path, where, _without(str(error), where))
            continue
        if identity in named:
            report.add("duplicate id", split, path, where, f"image id {identity} is used twice")
            continue
        named.add(identity)
        file = folder / name
        try:
            there = file.is_file()
        except OSError:
            there = False
        if there:
            usable[identity] = entry
        else:
            link = ", it is a link that leads nowhere or to itself" if file.is_symlink() else ""
            report.add("image missing", split, file, identity, f"there is no such file{link}")
    if not entries:
        report.add("empty", split, path, "images", "holds no image")
    return usable, named


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
        image = entry.get("image_id")
        if isinstance(image, bool) or not isinstance(image, int) or image not in named:
            report.add("annotation without image", split, path, where, f"image_id {image!r} is not among the images")
            continue
        if image not in images:
            continue  # went with its image
        category = entry.get("category_id")
        if isinstance(category, bool) or not isinstance(category, int) or category not in categories:
            report.add("category", split, path, where, f"category_id {category!r} is not among the categories")
            continue
        if entry.get("iscrowd", 0) not in (0, 1):
            message = f"iscrowd is {entry['iscrowd']!r}, expected 0 or 1"
            report.add("annotation file", split, path, where, message)
            continue
        if _box_stays(entry.get("bbox"), images[image], path, split, where, report):
            identity = entry.get("id")
            if isinstance(identity, bool) or not isinstance(identity, int) or identity in seen or identity < 0:
                report.add("annotation id", split, path, where, f"id is {identity!r}")
            seen.add(identity if isinstance(identity, int) else None)
            kept.append(entry)
    return kept


def _box_stays(box: Any, image: ImageEntry, path: Path, split: str, where: str, report: Report) -> bool:
    """Whether a box can be used; adds what is wrong with it."""
    try:
        x, y, w, h = coco.finite_box(box, where)
    except UserError as error:
        report.add("box not finite", split, path, where, _without(str(error), where))
        return False
    width, height = image["width"], image["height"]
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
    kept: list[AnnotationEntry],
    images: dict[int, ImageEntry],
    categories: dict[int, str],
    path: Path,
    split: str,
    report: Report,
) -> None:
    """What only all annotations together show."""
    annotated = {entry["image_id"] for entry in kept}
    for identity, image in images.items():
        if identity not in annotated:
            report.add("image without annotations", split, image["file_name"], identity, "shows no object")
    crowds = Counter(entry["image_id"] for entry in kept if entry.get("iscrowd"))
    for identity, count in crowds.items():
        report.add("crowd", split, images[identity]["file_name"], identity, f"crowd annotations: {count}")
    objects = [entry for entry in kept if not entry.get("iscrowd")]
    if images and not objects:
        report.add("empty", split, path, "annotations", "no image shows an object")
    used = {entry["category_id"] for entry in objects}
    for identity, name in categories.items():
        if objects and identity not in used:
            report.add("class without objects", split, path, f"category {identity}", f"no object is a {name}")
    if objects and all(0 <= value <= 1 for entry in objects for value in entry["bbox"]):
        message = "no box reaches beyond 1, so they are parts of the image; expected pixels"
        report.add("normalised boxes", split, path, "annotations", message)
