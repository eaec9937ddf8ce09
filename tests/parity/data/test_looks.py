"""Images are looked at once per source, and again when anything about them changed."""

import json
import os
import shutil

import pytest

from parity.data import check_images
from parity.data.build import build
from parity.data.looks import NAME
from parity.files import read_json

PLACES = {
    "source": "coco",
    "annotations": {"train": "annotations/train.json", "val": "annotations/val.json"},
    "images": {"train": "images/train", "val": "images/val"},
    "val_images": 3,
}


@pytest.fixture
def seen(monkeypatch):
    """Names of the image files that were looked at."""
    names: list[str] = []
    real = check_images.look

    def watched(path, width, height):
        names.append(path.name)
        return real(path, width, height)

    monkeypatch.setattr(check_images, "look", watched)
    return names


def make(shapes, out, count, **changes):
    build(PLACES | {"root": str(shapes), "train_images": count} | changes, out)
    return read_json(out / "check.json")["problems"]


def test_a_larger_subset_looks_at_what_is_new_only(shapes, tmp_path, seen):
    make(shapes, tmp_path / "a", 4)
    assert len(seen) == 4 + 3
    seen.clear()
    make(shapes, tmp_path / "b", 9)
    assert len(seen) == 9 - 4
    seen.clear()
    make(shapes, tmp_path / "c", 9)
    assert seen == []


def test_problems_are_remembered_too(shapes, tmp_path, seen):
    config = {"root": str(tmp_path / "source")}
    (tmp_path / "source").mkdir()
    for name in ("annotations", "images"):
        shutil.copytree(shapes / name, tmp_path / "source" / name)
    wrong = next((tmp_path / "source/images/train").iterdir())
    wrong.write_bytes(b"")
    first = make(shapes, tmp_path / "a", None, **config)
    assert [p["kind"] for p in first if p["id"] == str(int(wrong.stem))] == ["image unreadable"]
    seen.clear()
    assert make(shapes, tmp_path / "b", None, **config) == first and seen == []
    assert read_json(tmp_path / "a/manifest.json")["digest"] == read_json(tmp_path / "b/manifest.json")["digest"]


def test_a_changed_file_or_a_changed_check_is_looked_at_again(shapes, tmp_path, seen, monkeypatch):
    source = tmp_path / "source"
    shutil.copytree(shapes, source)
    make(source, tmp_path / "a", None)
    seen.clear()
    changed = sorted((source / "images/val").iterdir())
    for path in changed:
        os.utime(path, ns=(1, 1))
    make(source, tmp_path / "b", None)
    assert len(seen) == 3 and set(seen) <= {path.name for path in changed}
    seen.clear()
    for name in ("a", "b"):
        path = tmp_path / name / NAME
        path.write_text(json.dumps(read_json(path) | {"rules": "other"}))
    make(source, tmp_path / "c", None)
    assert len(seen) == 14 + 3


def test_copies_are_looked_at_and_a_broken_memory_does_no_harm(shapes, tmp_path, seen):
    make(shapes, tmp_path / "a", 4, files="copy")
    assert len(seen) == 7 and not (tmp_path / "a" / NAME).exists()
    (tmp_path / "a" / NAME).write_text("{")
    make(shapes, tmp_path / "b", 4)
    assert len(seen) == 14
