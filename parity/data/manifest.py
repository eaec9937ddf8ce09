"""`manifest.json` of a neutral dataset folder: its content, so that two runs can prove that they saw the same data."""

from pathlib import Path
from typing import Any

from parity.data.coco import load
from parity.files import digest, file_sha256, read_json, write_json

SPLITS = ("train", "val")


def write_manifest(root: Path, name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Describe the finished folder `root` and write its `manifest.json`.

    `digest` covers classes, annotation files and image bytes; it does not depend on the folder's place or name, nor on
    whether images are copies or links.
    """
    splits = {split: _split(root, split) for split in SPLITS}
    classes = [{"id": c.id, "name": c.name} for c in load(root / "annotations" / f"{SPLITS[0]}.json", None).categories]
    content = {split: [about["annotations_sha256"], about["sha256"]] for split, about in splits.items()}
    manifest = {
        "name": name,
        "source": source,
        "classes": classes,
        "splits": splits,
        "digest": digest([classes, content]),
    }
    write_json(root / "manifest.json", manifest)
    return manifest


def _split(root: Path, split: str) -> dict[str, Any]:
    """ids, counts per class (without crowds) and the SHA-256 of every image of one split."""
    path = root / "annotations" / f"{split}.json"
    dataset = load(path, root / "images" / split)
    names = {c.id: c.name for c in dataset.categories}
    counts = dict.fromkeys(names.values(), 0)
    annotated = set()
    annotations = read_json(path)["annotations"]
    for annotation in annotations:
        annotated.add(annotation["image_id"])
        counts[names[annotation["category_id"]]] += 1 - annotation.get("iscrowd", 0)
    return {
        "images": len(dataset),
        "annotations": len(annotations),
        "ids": dataset.ids,
        "counts": counts,
        "sha256": {record.file_name: file_sha256(record.path) for record in dataset.images.values()},
        "annotations_sha256": file_sha256(path),
        "crowd": sum(record.crowd for record in dataset.images.values()),
        "empty": len(dataset) - len(annotated),
    }
