"""A small, seeded, category-covering part of a COCO dataset as a neutral dataset folder.

The rule for N images: first a greedy cover (each image taken shows the most categories not yet shown; ties fall by the
seeded order), then images in the seeded order. Ids can be named instead. Train and val never share an image.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.config.data import CocoSource
from parity.data.check import NOTE, Report
from parity.data.check_annotations import check_file
from parity.data.coco import Dataset, load
from parity.data.entries import Document
from parity.data.manifest import SPLITS
from parity.data.plan import generator
from parity.errors import UserError
from parity.files import file_sha256, read_json, read_lines, write_json

DEFAULTS = {"name": "coco"} | CocoSource().whole()
FILES = ("link", "relative", "copy")


def write_subset(config: Mapping[str, Any], out: Path, report: Report, shown: Path | None = None) -> None:
    """Write annotations and images of the subset that `config` (keys of DEFAULTS) describes into the folder `out`.

    What is wrong with the annotations goes to `report`, which names the file `shown` where they were converted from it.
    Raises CheckFailed when they must not be trained on.

    Where `annotations.train` is null, both splits are drawn from the val split: val first, train from what is left.
    Image entries stay as they are, licences included; annotations lose their segmentation, which no box detector reads.
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
    usable = {split: _checked(root, config, split, out, report, shown) for split in sorted(set(places.values()))}
    report.stop_if_needed()
    sources = {split: load(path, root / config["images"][split]) for split, path in usable.items()}
    chosen: dict[str, list[int]] = {}
    for index, split in enumerate(reversed(SPLITS)):  # val first: it is the split that must be representative
        taken = chosen.get("val", []) if places[split] == places["val"] and split != "val" else []
        rng = generator(config["seed"], index)
        ids = named_ids(config[f"{split}_ids"], f"data.{split}_ids")
        chosen[split] = choose(sources[places[split]], config[f"{split}_images"], ids, rng, taken, split)
    for split in SPLITS:
        _write_split(sources[places[split]], chosen[split], out, split, config["files"])
    shutil.rmtree(out / "source", ignore_errors=True)


def write_converted(
    documents: Mapping[str, Document],
    shown: Path,
    images: str,
    config: Mapping[str, Any],
    out: Path,
    report: Report,
) -> None:
    """Write what another format was converted to: a COCO document per split, images in the folder `images` of the root.

    `shown` is what the documents were made from. Without a document for train, both splits are drawn from val's. Of
    `config`, `root`, `train_images`, `val_images`, `seed` and `files` count.
    """
    places: dict[str, str | None] = dict.fromkeys(SPLITS)
    for split, document in documents.items():
        path = (out / "source" / f"{split}.json").resolve()
        write_json(path, document, indent=None)
        places[split] = str(path)
    settings = DEFAULTS | {"annotations": places, "images": dict.fromkeys(SPLITS, images)}
    settings |= {key: config[key] for key in ("root", "train_images", "val_images", "seed", "files")}
    write_subset(settings, out, report, shown)


def _checked(root: Path, config: Mapping[str, Any], split: str, out: Path, report: Report, shown: Path | None) -> Path:
    """The annotation file of a split, or a copy without what the check drops."""
    path, images = root / config["annotations"][split], root / config["images"][split]
    if split == "train" and not path.is_file():
        raise UserError(f"{path}: is not there; set data.annotations.train to null to draw both splits from val")
    document = check_file(path, images, split, report, shown)
    changed = any(p.split == split and (p.effect != NOTE or p.kind == "annotation id") for p in report.problems)
    if document is None or not changed:
        return path
    checked = out / "source" / f"checked_{split}.json"
    write_json(checked, document, indent=None)
    return checked


def named_ids(given: Sequence[int] | Mapping[str, str] | str | None, key: str) -> Sequence[int] | None:
    """The image ids that the configuration names: a list, or a text file with an id per line.

    A file is named by its path, or by `pinned`'s mapping, which a file with another content does not fit.
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


def pinned(file: str) -> dict[str, str]:
    """A file of ids together with its content's SHA-256, so that another content is another dataset."""
    read_lines(file)  # says what is wrong with it
    return {"file": file, "sha256": file_sha256(file)}


def choose(
    dataset: Dataset,
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


def _cover(dataset: Dataset, order: list[int], limit: int) -> list[int]:
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


def _write_split(dataset: Dataset, ids: list[int], out: Path, split: str, files: str) -> None:
    document = read_json(dataset.annotations)
    wanted = set(ids)
    annotations = []
    for position, entry in enumerate(document["annotations"]):
        if entry["image_id"] in wanted:
            area = entry["bbox"][2] * entry["bbox"][3]
            kept = {"id": position + 1, "iscrowd": 0, "area": area} | entry
            kept.pop("segmentation", None)
            annotations.append(kept)
    subset = {key: document[key] for key in ("info", "licenses") if key in document}
    subset["images"] = sorted((entry for entry in document["images"] if entry["id"] in wanted), key=lambda e: e["id"])
    subset |= {"annotations": annotations, "categories": document["categories"]}
    write_json(out / "annotations" / f"{split}.json", subset, indent=None)
    for image_id in ids:
        record = dataset.images[image_id]
        target = out / "images" / split / record.file_name
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
