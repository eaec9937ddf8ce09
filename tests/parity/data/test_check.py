"""The check as a whole; single items of bad input are in bad_input.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from bad_input import SIZE, edit, good_coco, settings
from PIL import Image

from parity.data import check_images
from parity.data.build import build
from parity.data.check import KINDS, Report
from parity.data.check_annotations import check_document
from parity.data.coco import open_split
from parity.data.loader import decode
from parity.errors import UserError


@pytest.fixture
def root(tmp_path):
    """6 + 4 images of 48 x 32 with a box each, two classes, everything in order."""
    good_coco(tmp_path / "source")
    return tmp_path / "source"


def make(root, **changes):
    """Build; the problems as (kind, split, id), and the dataset folder."""
    out = root.parent / "out"
    try:
        build(settings("coco", root) | changes, out)
    finally:
        problems = json.loads((out / "check.json").read_text())["problems"] if out.exists() else []
    return problems, out


def test_every_problem_is_listed_not_only_the_first(root):
    edit(root, lambda d: [a.update(category_id=7) for a in d["annotations"]])
    edit(root, lambda d: d["annotations"][0].update(category_id=8), "val")  # and then train has no object left
    with pytest.raises(UserError, match=r"and 7 more problems"):
        make(root)
    assert (root.parent / "out/check.md").read_text().count("is not among the categories") == 7


def test_sixteen_bits_keep_their_upper_eight(root):
    """Pillow alone would make white of everything above 255."""
    path = root / "train/1.png"
    Image.fromarray(np.array([[0, 255, 256, 4096, 65535]], np.uint16)).save(path)
    assert decode(path)[0, :, 1].tolist() == [0, 0, 1, 16, 255]


def test_huge_images_are_dropped_before_they_are_decoded(root, monkeypatch):
    monkeypatch.setattr(check_images, "MOST_PIXELS", 48 * 32 - 1)
    facts = check_images.look(root / "train/1.png", *SIZE)
    assert facts.problems == [("image too large", "48 x 32 pixels, the limit is 0 million")] and facts.hash is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    facts = check_images.look(root / "train/1.png", *SIZE)
    assert [kind for kind, _ in facts.problems] == ["image too large"]


def test_what_a_subset_leaves_out_does_not_count_against_it(root):
    """Three of six images are missing; of the two that are drawn, one is broken: neither is more than half."""
    for identity in (1, 2, 3):
        (root / f"train/{identity}.png").unlink()
    problems, out = make(root, train_images=2)
    first = open_split(out, "train").ids[0]
    (root / f"train/{first}.png").write_bytes(b"")
    problems, out = make(root, train_images=2)
    assert sorted(p["kind"] for p in problems if p["effect"] == "drop image") == ["image missing"] * 3 + [
        "image unreadable"
    ]
    assert len(open_split(out, "train")) == 1


def test_broken_images_everywhere_stop(root):
    for identity in range(1, 5):
        (root / f"train/{identity}.png").write_bytes(b"")
    with pytest.raises(UserError, match="4 of 6 images would be dropped"):
        make(root)


def test_a_large_index_is_checked_by_entry_not_by_pair():
    """20,000 images and 60,000 boxes: every one is looked at once, and one bad box among them is found."""
    count = 20_000
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(count)]
    boxes = [{"id": k, "image_id": k % count, "category_id": 1, "bbox": [1, 1, 9, 9]} for k in range(3 * count)]
    boxes[777]["bbox"] = [1, 1, 0, 9]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}, {"id": 0, "name": "b"}]}

    class Everywhere:
        def __truediv__(self, name):
            return self

        def is_file(self):
            return True

    report = Report()
    kept = check_document(document, "x.json", Everywhere(), "train", report)
    assert [p.kind for p in report.problems] == ["box without area", "class without objects"]
    assert len(kept["annotations"]) == 3 * count - 1


def test_the_page_about_own_data_lists_every_kind():
    page = (Path(__file__).parents[3] / "docs/own-data.md").read_text()
    for kind, (effect, meaning) in KINDS.items():
        assert f"| {kind} | {effect} | {meaning} |" in page


def test_unknown_kinds_are_a_bug():
    with pytest.raises(ValueError, match="unknown kind"):
        Report().add("typo", "train", "x", 1, "y")
