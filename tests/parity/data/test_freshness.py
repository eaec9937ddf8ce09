"""A dataset is made again when, and only when, a file that it was made from was changed."""

import json
import os

import pytest
from bad_input import GOOD, edit, picture, settings

from parity.data import freshness
from parity.data.build import build


@pytest.fixture(params=["coco", "voc", "yolo"])
def made(request, tmp_path):
    """(root of the source, folder of the dataset, what makes it) for each source."""
    root, out = tmp_path / "source", tmp_path / "out"
    GOOD[request.param](root)

    def make(answers=freshness.FIRST):
        return build(settings(request.param, root), out, answers)

    make()
    return root, out, make


def files(root):
    return [path for path in root.rglob("*") if path.is_file()]


def test_nothing_is_asked_for_while_nothing_changes(made):
    root, out, make = made
    assert freshness.token(out) == freshness.FIRST
    make("again")
    assert freshness.token(out) == "again"
    for path in files(root):
        os.utime(path, ns=(0, 0))  # another time, the same content
    said = []
    assert freshness.token(out, said.append) == "again" and not said
    assert json.loads((out / freshness.NAME).read_text())["files"]


def test_every_file_counts_whether_it_grows_or_keeps_its_size(made):
    root, out, _ = made
    for path in files(root):
        content = path.read_bytes()
        before = path.stat()
        for changed in (content + b" ", content[:-1] + bytes([content[-1] ^ 1])):
            path.write_bytes(changed)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
            said = []
            assert freshness.token(out, said.append) != freshness.FIRST, path
            assert str(path) in said[0] and "was changed" in said[0]
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert freshness.token(out) == freshness.FIRST


def test_a_dataset_that_answers_a_change_is_fresh(made):
    root, out, make = made
    image = next(path for path in files(root) if path.name == "3.png")
    picture(99).save(image)
    asked = freshness.token(out)
    assert asked == freshness.token(out) != freshness.FIRST  # the same change asks for the same
    make(asked)
    assert freshness.token(out) == asked
    image.unlink()
    assert freshness.token(out) not in (asked, freshness.FIRST)


def test_a_missing_file_that_appears_counts(tmp_path):
    root, out = tmp_path / "source", tmp_path / "out"
    GOOD["coco"](root)
    edit(root, lambda document: document["images"][0].update(file_name="later.png"))
    assert build(settings("coco", root), out)["splits"]["train"]["images"] == 5
    assert freshness.token(out) == freshness.FIRST
    picture(1).save(root / "train/later.png")
    asked = freshness.token(out)
    assert asked != freshness.FIRST
    assert build(settings("coco", root), out, asked)["splits"]["train"]["images"] == 6


def test_new_images_and_new_labels_of_a_folder_count(tmp_path):
    root, out = tmp_path / "source", tmp_path / "out"
    GOOD["yolo"](root)
    (root / "labels/train/2.txt").unlink()
    build(settings("yolo", root), out)
    (root / "images/train/._1.png").write_bytes(b"of macOS")
    (root / "notes.md").write_text("nothing that is read")
    assert freshness.token(out) == freshness.FIRST
    for path, content in (("labels/train/2.txt", b"0 0.5 0.5 0.1 0.1\n"), ("images/train/0.png", b"")):
        (root / path).write_bytes(content)
        assert freshness.token(out) != freshness.FIRST
        (root / path).unlink()
        assert freshness.token(out) == freshness.FIRST


def test_a_source_that_is_gone_and_a_dataset_without_sources_ask_for_nothing(tmp_path, shapes):
    root, out = tmp_path / "source", tmp_path / "out"
    GOOD["coco"](root)
    build(settings("coco", root) | {"files": "copy"}, out)
    root.rename(tmp_path / "elsewhere")
    assert freshness.token(out) == freshness.FIRST
    assert freshness.token(shapes) == freshness.FIRST == freshness.token(tmp_path / "nothing")
    (out / freshness.NAME).write_text("[]")
    assert freshness.token(out) == freshness.FIRST


def test_a_root_in_the_home_folder_is_found(tmp_path, monkeypatch):
    GOOD["coco"](tmp_path / "home/mine")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = settings("coco", tmp_path) | {"root": "~/mine"}
    assert build(config, tmp_path / "out")["splits"]["train"]["images"] == 6
    (tmp_path / "home/mine/val/11.png").unlink()
    assert freshness.token(tmp_path / "out") != freshness.FIRST
