"""A small, seeded, category-covering part of a COCO dataset as a neutral dataset folder.

The rule for N images: first a greedy cover (each image taken shows the most categories not yet shown; ties go by the
seeded order), then images in the seeded order. Ids can be named instead. Train and val never share an image.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.config.data import CocoSource
from parity.data import coco
from parity.data.check import Report
from parity.data.check_annotations import check_file
from parity.data.classes import one_mapping
from parity.data.entries import Document
from parity.data.freshness import Sources
from parity.data.manifest import SPLITS
from parity.data.plan import generator
from parity.errors import UserError
from parity.files import file_sha256, read_lines, write_json

DEFAULTS = {"name": "coco"} | CocoSource().whole()
FILES = ("link", "relative", "copy")


def write_subset(
    config: Mapping[str, Any], out: Path, report: Report, sources: Sources, shown: Path | None = None
) -> None:
    """Write annotations and images of the subset that `config` (keys of DEFAULTS) describes into the folder `out`.

    Problems of the annotations go to `report`. It names the file `shown` if the annotations were converted from that
    file. Every file that is read is noted in `sources`. Raises CheckFailed when they must not be trained on.

    Where `annotations.train` is null, both splits are drawn from the val split: val first, train from what is left.
    Image entries stay as they are, licences included. Annotations keep only what a box detector reads.
    """
    if not config["root"]:
        raise UserError("data.root: is not set, expected the folder of a COCO dataset")
    root = Path(config["root"])
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder")
    if config["files"] not in FILES:
        raise UserError(f"data.files: {config['files']!r} is unknown, expected one of {', '.join(FILES)}")
    places = {split: split if config["annotations"].get(split) else "val" for split in SPLITS}
    if not config["annotations"].get("val"):
        raise UserError("data.annotations.val: is not set, expected the annotation file of the val split")
    paths = {split: root / config["annotations"][split] for split in sorted(set(places.values()))}
    documents = {}
    for split, path in paths.items():
        if split == "train" and not path.is_file():
            raise UserError(f"{path}: is not there; set data.annotations.train to null to draw both splits from val")
        if shown is None:
            sources.file(path)
        documents[split] = check_file(path, root / config["images"][split], split, report, shown, root)
    for problem in report.problems:
        if problem.kind == "image missing":
            sources.file(problem.file)
    report.stop_if_needed()
    one_mapping(documents, dict.fromkeys(paths, shown) if shown else paths, report)
    report.stop_if_needed()
    splits = {
        split: coco.index(document, paths[split], root / config["images"][split])
        for split, document in documents.items()
    }
    chosen: dict[str, list[int]] = {}
    for index, split in enumerate(reversed(SPLITS)):  # val first: it is the split that must be representative
        place = places[split]
        taken = chosen.get("val", []) if place == places["val"] and split != "val" else []
        rng = generator(config["seed"], index)
        ids = _new_ids(named_ids(config[f"{split}_ids"], f"data.{split}_ids"), documents[place])
        chosen[split] = choose(splits[place], config[f"{split}_images"], ids, rng, taken, split)
    for split in SPLITS:
        place = places[split]
        _write_split(splits[place], documents[place], chosen[split], out, split, config["files"], sources)
    shutil.rmtree(out / "source", ignore_errors=True)


def write_converted(
    documents: Mapping[str, Document],
    shown: Path,
    images: str,
    config: Mapping[str, Any],
    out: Path,
    report: Report,
    sources: Sources,
) -> None:
    """Write a dataset that was converted from another format.

    `documents` holds a COCO document per split; the images are in the folder `images` of the root.
    `shown` is what the documents were made from. Without a document for train, both splits are drawn from val's. Of
    `config` only `root`, `train_images`, `val_images`, `seed` and `files` count.
    """
    places: dict[str, str | None] = dict.fromkeys(SPLITS)
    for split, document in documents.items():
        path = (out / "source" / f"{split}.json").resolve()
        write_json(path, document, indent=None)
        places[split] = str(path)
    settings = DEFAULTS | {"annotations": places, "images": dict.fromkeys(SPLITS, images)}
    settings |= {key: config[key] for key in ("root", "train_images", "val_images", "seed", "files")}
    write_subset(settings, out, report, sources, shown)


def named_ids(given: Sequence[int] | Mapping[str, str] | str | None, key: str) -> Sequence[int] | None:
    """The image ids that the configuration names: a list, or a text file with an id per line.

    A file is given by its path or by the mapping of `pinned`, which is refused if the file's content has changed.
    """
    if given is None or isinstance(given, list | tuple):
        return given
    pin = {"file": given, "sha256": None} if isinstance(given, str) else given
    lines = read_lines(pin["file"])
    if pin["sha256"] is not None and file_sha256(pin["file"]) != pin["sha256"]:
        raise UserError(f"{key}: {pin['file']} was changed meanwhile")
    try:
        return [int(line) for line in lines]
    except ValueError as error:
        raise UserError(f"{pin['file']}: {error}, expected an image id per line") from error


def _new_ids(ids: Sequence[int] | None, document: Document) -> Sequence[int] | None:
    """The new ids of these images, if the check numbered them anew."""
    new = {entry["source_id"]: entry["id"] for entry in document["images"] if "source_id" in entry}
    return ids if ids is None or not new else [new.get(str(i), i) for i in ids]


def pinned(file: str) -> dict[str, str]:
    """A file of ids together with its content's SHA-256, so that another content is another dataset."""
    read_lines(file)  # raises an error that says what is wrong
    return {"file": file, "sha256": file_sha256(file)}


def choose(
    dataset: coco.Dataset,
    count: int | None,
    ids: Sequence[int] | None,
    rng: np.random.Generator,
    taken: Sequence[int] = (),
    split: str = "split",
) -> list[int]:
    """Sorted ids of `count` images (None: all), or of the named ones; none of `taken`."""
    taken = set(taken)
    if ids is not None:
        for image_id in ids:
            if image_id not in dataset.images:
                raise UserError(f"data.{split}_ids: {image_id} is not among the images of {dataset.annotations}")
            if image_id in taken:
                raise UserError(f"data.{split}_ids: {image_id} is in the other split already")
        if len(set(ids)) != len(ids) or not ids:
            raise UserError(f"data.{split}_ids: is empty or names an image twice")
        return sorted(ids)
    free = [image_id for image_id in dataset.ids if image_id not in taken]
    count = len(free) if count is None else count
    if not 1 <= count <= len(free):
        raise UserError(
            f"data.{split}_images: {count}, expected 1 to {len(free)}, the images {dataset.annotations} leaves"
        )
    order = [free[i] for i in rng.permutation(len(free))]
    cover = _cover(dataset, order, count)
    rest = [image_id for image_id in order if image_id not in set(cover)]
    return sorted(cover + rest[: count - len(cover)])


def _cover(dataset: coco.Dataset, order: list[int], limit: int) -> list[int]:
    """Greedy cover of the categories that occur; at most `limit` images, ties to the earlier in `order`."""
    columns = {label: column for column, label in enumerate(dataset.category_of)}
    shows = np.zeros((len(order), len(columns)), bool)
    for row, image_id in enumerate(order):
        shows[row, [columns[int(label)] for label in dataset.images[image_id].labels]] = True
    missing, cover = shows.any(axis=0), []
    while missing.any() and len(cover) < limit:
        row = int(np.argmax(shows[:, missing].sum(axis=1)))
        cover.append(order[row])
        missing &= ~shows[row]
    return cover


def _write_split(
    dataset: coco.Dataset,
    document: Document,
    ids: list[int],
    out: Path,
    split: str,
    files: str,
    sources: Sources,
) -> None:
    wanted = set(ids)
    first = ("id", "iscrowd", "area")
    annotations = [
        {key: entry[key] for key in first} | entry for entry in document["annotations"] if entry["image_id"] in wanted
    ]
    subset = {key: document[key] for key in ("info", "licenses") if key in document}
    subset["images"] = sorted((entry for entry in document["images"] if entry["id"] in wanted), key=lambda e: e["id"])
    subset |= {"annotations": annotations, "categories": document["categories"]}
    write_json(out / "annotations" / f"{split}.json", subset, indent=None)
    for image_id in ids:
        record = dataset.images[image_id]
        relative = f"images/{split}/{record.file_name}"
        sources.file(record.path, relative)
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        place(record.path, target, files)


def place(source: Path, target: Path, files: str) -> None:
    """Put an image file at `target` as `files` says; symlinks point at the real file, not at another link."""
    source = source.resolve()
    if files == "copy":
        shutil.copyfile(source, target)
    elif files == "relative":
        target.symlink_to(os.path.relpath(source, target.parent.resolve()))
    else:
        target.symlink_to(source)
