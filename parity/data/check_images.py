"""Checking the image files of a finished dataset folder, and whether validation leaks into training.

Threads decode every file once. A file that another dataset of the same source has checked is not decoded again. Images
that cannot be used are taken out of annotations and folder.
"""

import hashlib
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from parity.data import coco, depth
from parity.data.check import DROP_IMAGE, Report
from parity.data.looks import Looks
from parity.data.manifest import SPLITS
from parity.files import read_json, write_json

MOST_PIXELS = 100_000_000  # of one image; 300 MB when decoded
ALIKE = 2  # differing bits of 64 up to which two images count as near duplicates
EXTENSIONS = {"JPEG": (".jpg", ".jpeg", ".jpe"), "PNG": (".png",), "BMP": (".bmp",), "WEBP": (".webp",)}
EXTENSIONS |= {"TIFF": (".tif", ".tiff"), "GIF": (".gif",), "MPO": (".jpg", ".jpeg", ".mpo")}
BLACK = 16  # of 255: an image that is darker everywhere, or as near to white everywhere, shows nothing
ORIENTATION = 0x0112
# A warning of Pillow must go to the header that is being read, but Python's warnings know no threads.
HEADERS = threading.Lock()


@dataclass
class Facts:
    """The result of checking one file: problems as (kind, message), and the values by which images are compared."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    sha256: str = ""
    hash: int | None = None  # 64 bits of brightness differences; None for an image that cannot be used
    numbers: str = ""  # of an image of more than 8 bits: "whole" or "float"
    largest: float = 0.0  # and its largest value


Seen = tuple[coco.ImageRecord, Facts]
Add = Callable[[str, str], None]


def check_images(root: Path, report: Report, source: str | Path, apart: bool = True) -> None:
    """Check the images of every split below `root`, add to `report`, and remove unusable images from disk.

    `source` is the place of the images in messages. `apart`: no training image may be a validation image too.
    """
    since = len(report.problems)
    looks = Looks(root, [Path(__file__), Path(depth.__file__)])
    facts = {split: _facts(root, split, looks) for split in SPLITS}
    looks.save()
    for split, seen in facts.items():
        for record, fact in seen.values():
            for kind, message in fact.problems:
                report.add(kind, split, _name(split, record), record.id, message)
    _compare(facts["train"], facts["val"] if apart else {}, report)
    whites = _whites([fact for seen in facts.values() for _, fact in seen.values()])
    for split, seen in facts.items():
        dropped = {int(p.id) for p in report.problems[since:] if p.effect == DROP_IMAGE and p.split == split}
        deep = {identity: whites[fact.numbers] for identity, (_, fact) in seen.items() if fact.numbers}
        for identity, white in deep.items():
            record, fact = seen[identity]
            message = f"values up to {fact.largest:g}, {white} is shown as white"
            report.add("range of values", split, _name(split, record), identity, message)
            if fact.largest * 255 < BLACK * white:
                message = f"nearly black: its largest value is {fact.largest:g} where {white} is white"
                report.add("black or white", split, _name(split, record), identity, message)
        if dropped:
            report.limit_drops(DROP_IMAGE, split, source, "images", len(seen), since)
        if dropped or deep:
            _change(root, split, dropped, deep)
        for identity in dropped:
            seen[identity][0].path.unlink()


def _whites(facts: list[Facts]) -> dict[str, int]:
    """Which value is white in the images of more than 8 bits, by kind of number."""
    largest: dict[str, float] = {}
    for fact in facts:
        if fact.numbers:
            largest[fact.numbers] = max(largest.get(fact.numbers, 0.0), fact.largest)
    return {numbers: depth.white_of(value, numbers) for numbers, value in largest.items()}


def _name(split: str, record: coco.ImageRecord) -> str:
    """The name of an image in a report: its place in the dataset folder."""
    return f"images/{split}/{record.file_name}"


def _place(record: coco.ImageRecord) -> str:
    """The source file of an image, if the dataset folder knows it."""
    return str(record.path.resolve()) if record.path.is_symlink() else record.file_name


def _facts(root: Path, split: str, known: Looks) -> dict[int, Seen]:
    dataset = coco.open_split(root, split)
    records = list(dataset.images.values())
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
        looks = list(pool.map(lambda record: _look(record, known), records))
    return {record.id: (record, fact) for record, fact in zip(records, looks, strict=True)}


def _look(record: coco.ImageRecord, known: Looks) -> Facts:
    """The stored result of an image's check; without one, the image is checked now."""
    if (found := known.get(record)) is not None:
        return Facts(**found | {"problems": [(kind, message) for kind, message in found["problems"]]})
    facts = look(record.path, record.width, record.height)
    known.put(record, asdict(facts))
    return facts


def look(path: Path, width: int, height: int) -> Facts:
    """Decode one image file that the annotations call `width` x `height` pixels."""
    facts = Facts()

    def add(kind: str, message: str) -> None:
        facts.problems.append((kind, message))

    try:
        content = path.read_bytes()
    except OSError as error:
        add("image unreadable", f"cannot be read: {error.strerror or error}")
        return facts
    if not content:
        add("image unreadable", "is empty (0 bytes)")
        return facts
    facts.sha256 = hashlib.sha256(content).hexdigest()
    del content
    try:
        picture, turned = _open(path, add)
        with picture:
            found = picture.size
            if found[0] * found[1] > MOST_PIXELS:
                add("image too large", f"{found[0]} x {found[1]} pixels, the limit is {MOST_PIXELS // 10**6} million")
                return facts
            if found != (width, height):
                hint = ", the annotations were made on the upright view" if turned and found == (height, width) else ""
                add("image size", f"is {found[0]} x {found[1]} pixels, annotated as {width} x {height}{hint}")
                return facts
            if path.suffix.lower() not in EXTENSIONS.get(picture.format, (path.suffix.lower(),)):
                add("wrong extension", f"is a {picture.format} file")
            if picture.mode != "RGB":
                add("colour mode", f"is of mode {picture.mode}")
            if depth.is_deep(picture):
                numbers = depth.kind_of(picture.mode)
                try:
                    largest = depth.largest_value(picture)
                except ValueError as error:
                    add("image values", f"is of mode {picture.mode}, {error}")
                    return facts
                facts.numbers, facts.largest = numbers, largest
                grey = depth.to_eight_bits(picture, depth.white_of(largest, numbers))
            else:
                grey = picture.convert("L")
            darkest, brightest = grey.getextrema()
            if brightest < BLACK or darkest > 255 - BLACK:
                what = "black" if brightest < BLACK else "white"
                add("black or white", f"nearly {what}: brightness from {darkest} to {brightest} of 255")
            grey = grey.resize((9, 8), Image.Resampling.BOX)
    except Image.DecompressionBombError:
        add("image too large", f"many more pixels than the limit of {MOST_PIXELS // 10**6} million")
    except UnidentifiedImageError:
        add("image unreadable", "is no image of a known format")
    except (OSError, SyntaxError, ValueError) as error:
        add("image unreadable", f"cannot be decoded: {error}")
    else:
        bits = np.diff(np.asarray(grey, np.int16), axis=1).ravel() > 0
        facts.hash = int("".join("1" if bit else "0" for bit in bits), 2)
    return facts


def _open(path: Path, add: Add) -> tuple[Image.Image, bool]:
    """The image, not yet decoded, and whether a viewer would turn it by a quarter.

    Pillow only warns of EXIF that is cut short, and reads the rest.
    """
    with HEADERS, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        picture = Image.open(path)
        turned = _orientation(picture, add)
    corrupt = next((str(w.message).strip() for w in said if "EXIF" in str(w.message)), None)
    if corrupt:
        add("EXIF invalid", corrupt)
    return picture, turned


def _orientation(picture: Image.Image, add: Add) -> bool:
    """Whether a viewer would turn the image by a quarter; notes any orientation but the upright one."""
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError) as error:
        add("EXIF invalid", f"EXIF cannot be read: {error}")
        return False
    if orientation not in range(1, 9):
        add("EXIF invalid", f"orientation is {orientation!r}, expected 1 to 8")
        return False
    if orientation != 1:
        add("EXIF orientation", f"orientation {orientation}: a viewer shows it turned or mirrored")
    return orientation >= 5


def _compare(train: dict[int, Seen], val: dict[int, Seen], report: Report) -> None:
    """Same bytes and near duplicates, within training and between training and validation."""
    by_sum: dict[str, coco.ImageRecord] = {}
    for record, fact in train.values():
        if fact.hash is not None and by_sum.setdefault(fact.sha256, record) is not record:
            first = by_sum[fact.sha256].file_name
            report.add("same image twice", "train", _name("train", record), record.id, f"has the same bytes as {first}")
    copies: set[int] = set()
    usable = [(record, fact) for record, fact in train.values() if fact.hash is not None]
    hashes = np.asarray([fact.hash for _, fact in usable], np.uint64)
    sums = {fact.sha256: record for record, fact in val.values() if fact.hash is not None}
    for record, fact in usable:
        if fact.sha256 in sums:
            copies.add(record.id)
            ours, theirs = _place(record), _place(sums[fact.sha256])
            same = f"the file {ours} is in train and in val" if ours == theirs and record.path.is_symlink() else ""
            message = same or f"has the same bytes as {sums[fact.sha256].file_name} of val ({theirs})"
            report.add("train image in val", "train", _name("train", record), record.id, message)
    bits = np.asarray([bin(value).count("1") for value in range(256)], np.uint8)
    for record, fact in val.values():
        if fact.hash is None or not len(hashes):
            continue
        distance = bits[(hashes ^ np.uint64(fact.hash)).view(np.uint8).reshape(-1, 8)].sum(axis=1)
        for index in np.flatnonzero(distance <= ALIKE):
            other = usable[index][0]
            if other.id not in copies:
                message = f"looks like {other.file_name} of train ({distance[index]} of 64 bits differ)"
                report.add("near duplicate in val", "val", _name("val", record), record.id, message)


def _change(root: Path, split: str, dropped: set[int], whites: dict[int, int]) -> None:
    """Take images out of the annotations, and write which value is white in those of more than 8 bits."""
    path = root / "annotations" / f"{split}.json"
    document = read_json(path)
    document["images"] = [entry for entry in document["images"] if entry["id"] not in dropped]
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] not in dropped]
    for entry in document["images"]:
        if entry["id"] in whites:
            entry["white"] = whites[entry["id"]]
    write_json(path, document, indent=None)
