"""Bad input, item by item: what is reported, in one line, and what becomes of the data."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parity.data import check_images
from parity.data.build import build
from parity.data.check import KINDS, Report
from parity.data.check_annotations import check_document
from parity.data.coco import open_split
from parity.data.loader import decode
from parity.errors import UserError

SIZE = (48, 32)


def picture(seed):
    """A smooth image that no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path):
    """6 + 4 images of 48 x 32 with a box each, two classes, everything in order."""
    root = tmp_path / "source"
    for split, count, first in (("train", 6, 1), ("val", 4, 11)):
        (root / split).mkdir(parents=True)
        document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
        for identity in range(first, first + count):
            picture(identity).save(root / split / f"{identity}.png")
            image = {"id": identity, "file_name": f"{identity}.png", "width": SIZE[0], "height": SIZE[1]}
            document["images"].append(image)
            box = {"bbox": [4, 5, 20, 10], "area": 200, "iscrowd": 0, "category_id": 1 + identity % 2}
            document["annotations"].append({"id": identity, "image_id": identity} | box)
        (root / f"{split}.json").write_text(json.dumps(document))
    return root


def make(root, **changes):
    """Build; the problems as (kind, split, id), and the dataset folder."""
    out = root.parent / "out"
    places = {split: f"{split}.json" for split in ("train", "val")}
    settings = {"source": "coco", "root": str(root), "annotations": places, "images": {"train": "train", "val": "val"}}
    try:
        build(settings | changes, out)
    finally:
        problems = json.loads((out / "check.json").read_text())["problems"] if out.exists() else []
    return problems, out


def edit(root, change, split="train"):
    path = root / f"{split}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_nothing_wrong_nothing_said(root):
    problems, out = make(root)
    assert problems == [] and "Found: no problem." in (out / "check.md").read_text()
    assert open_split(out, "train").ids == [1, 2, 3, 4, 5, 6]


# ---- annotations: (what is done to the document, kind, words of the message, images left, boxes left)
ENTRIES = [
    (lambda d: d["annotations"][0].update(image_id=99), "annotation without image", "image_id 99", 6, 5),
    (lambda d: d["annotations"][0].update(image_id="1"), "annotation without image", "image_id '1'", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[60, 5, 9, 9]), "box outside", "lies outside of 48 x 32", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[-9, 5, 9, 9]), "box outside", "lies outside", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[40, 5, 20, 9]), "box partly outside", "ends outside", 6, 6),
    (lambda d: d["annotations"][0].update(bbox=[9, 5, -4, 9]), "box inverted", "negative", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[9, 5, 0, 9]), "box without area", "is 0", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[9, float("nan"), 4, 9]), "box not finite", "bbox is", 6, 5),
    (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "box not finite", "bbox is", 6, 5),
    (lambda d: d["annotations"][0].pop("bbox"), "box not finite", "bbox is None", 6, 5),
    (lambda d: d["annotations"][0].update(id=2), "annotation id", "id is 2", 6, 6),
    (lambda d: d["annotations"][0].pop("id"), "annotation id", "id is None", 6, 6),
    (lambda d: d["annotations"].pop(0), "image without annotations", "shows no object", 6, 5),
    (lambda d: d["images"][0].update(file_name="none.png"), "image missing", "there is no such file", 5, 5),
    (lambda d: d["annotations"][0].update(iscrowd=1, segmentation={"counts": "a"}), "crowd", "annotations: 1", 6, 6),
    (
        lambda d: [a.update(category_id=1) for a in d["annotations"]],
        "class without objects",
        "no object is a dog",
        6,
        6,
    ),
    (lambda d: d["categories"].append({"id": 5, "name": "cow"}), "category ids with gaps", "the id 3, 4", 6, 6),
]


@pytest.mark.parametrize(("change", "kind", "words", "images", "boxes"), ENTRIES, ids=lambda v: str(v)[:30])
def test_entries_that_are_dropped_or_noted(root, change, kind, words, images, boxes):
    edit(root, change)
    if kind == "category ids with gaps":
        edit(root, change, "val")
    problems, out = make(root)
    (found,) = [p for p in problems if p["kind"] == kind and p["split"] == "train"]
    assert words in found["message"] and "\n" not in found["message"] and found["file"]
    assert f"| {kind} |" in (out / "check.md").read_text()
    document = json.loads((out / "annotations/train.json").read_text())
    assert (len(document["images"]), len(document["annotations"])) == (images, boxes)
    assert len({a["id"] for a in document["annotations"]}) == boxes
    assert len(open_split(out, "train")) == images


STOPS = [
    (lambda d: d["images"][0].update(id=2), "duplicate id", "image id 2 is used twice"),
    (lambda d: d["categories"][0].update(id=2), "duplicate id", "category id 2 is used twice"),
    (lambda d: d["annotations"][0].update(category_id=7), "category", "category_id 7 is not among"),
    (lambda d: d["annotations"][0].update(category_id="1"), "category", "category_id '1' is not among"),
    (lambda d: d["categories"][0].update(id="1"), "annotation file", "id is '1', expected an integer"),
    (lambda d: d["images"][0].update(file_name="../x.png"), "unsafe path", "leaves the image folder"),
    (lambda d: d["images"][0].update(file_name="/etc/x.png"), "unsafe path", "leaves the image folder"),
    (lambda d: d["images"][0].update(width=0), "annotation file", "width is 0"),
    (lambda d: d["images"].clear(), "empty", "holds no image"),
    (lambda d: d["annotations"].clear(), "empty", "no image shows an object"),
    (lambda d: d["categories"].clear(), "empty", "holds no category"),
    (lambda d: d["annotations"].append(3), "annotation file", "is a int, expected an object"),
    (lambda d: d["annotations"][0].update(iscrowd=2), "annotation file", "iscrowd is 2"),
    (lambda d: d.pop("images"), "annotation file", "has no key 'images'"),
    (lambda d: [a.update(bbox=[0.1, 0.2, 0.5, 0.25]) for a in d["annotations"]], "normalised boxes", "expected pixels"),
    (lambda d: [a.update(bbox=[9, 5, -4, 9]) for a in d["annotations"][:4]], "too many drops", "4 of 6 boxes"),
    (lambda d: [i.update(file_name="x" + i["file_name"]) for i in d["images"][:4]], "too many drops", "4 of 6 images"),
]


@pytest.mark.parametrize(("change", "kind", "words"), STOPS, ids=lambda v: str(v)[:30])
def test_what_stops(root, change, kind, words):
    edit(root, change)
    with pytest.raises(UserError) as refusal:
        make(root)
    report = json.loads((root.parent / "out/check.json").read_text())["problems"]
    found = [p for p in report if p["kind"] == kind and p["effect"] == "stop"]
    assert found and words in found[0]["message"]
    assert "train" in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (root.parent / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [', "is not valid JSON"),
        (b"\xff\xfe{}", "is not UTF-8 text"),
        (b"[]", "holds a list"),
        (b"", "JSON"),
    ],
)
def test_a_file_that_is_no_annotation_stops(root, content, words):
    (root / "train.json").write_bytes(content)
    with pytest.raises(UserError, match=words) as refusal:
        make(root)
    assert str(root / "train.json") in str(refusal.value)


def test_every_problem_is_listed_not_only_the_first(root):
    edit(root, lambda d: [a.update(category_id=7) for a in d["annotations"]])
    edit(root, lambda d: d["annotations"][0].update(category_id=8), "val")  # and then train has no object left
    with pytest.raises(UserError, match=r"and 7 more problems"):
        make(root)
    assert (root.parent / "out/check.md").read_text().count("is not among the categories") == 7


def test_one_class_is_allowed_and_said(root):
    for split in ("train", "val"):
        edit(root, lambda d: (d["categories"].pop(), [a.update(category_id=1) for a in d["annotations"]]), split)
    problems, _ = make(root)
    assert {p["kind"] for p in problems} == {"one class only"} and len(problems) == 2


# ---- image files
def replace(root, image, name="1.png"):
    image.save(root / "train" / name)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


FILES = [
    ("image unreadable", "is empty", lambda r: (r / "train/1.png").write_bytes(b"")),
    ("image unreadable", "is no image", lambda r: (r / "train/1.png").write_bytes(b"hello")),
    ("image unreadable", "cannot be decoded", lambda r: os.truncate(r / "train/1.png", 1000)),
    ("image size", "is 40 x 30 pixels", lambda r: replace(r, Image.new("RGB", (40, 30)))),
    ("wrong extension", "is a JPEG file", lambda r: picture(1).save(r / "train/1.png", "JPEG")),
    ("colour mode", "of mode L", lambda r: replace(r, picture(1).convert("L"))),
    ("colour mode", "of mode P", lambda r: replace(r, picture(1).convert("P"))),
    ("colour mode", "of mode RGBA", lambda r: replace(r, picture(1).convert("RGBA"))),
    ("colour mode", "of mode I;16", lambda r: replace(r, Image.fromarray(np.full(SIZE[::-1], 4096, np.uint16)))),
    ("colour mode", "of mode CMYK", lambda r: picture(1).convert("CMYK").save(r / "train/1.png", "JPEG")),
    ("EXIF orientation", "orientation 3", lambda r: picture(1).save(r / "train/1.png", exif=turned(3))),
    ("EXIF invalid", "orientation is 77", lambda r: picture(1).save(r / "train/1.png", exif=turned(77))),
    ("same image twice", "the same bytes as 1.png", lambda r: shutil.copy(r / "train/1.png", r / "train/2.png")),
    (
        "train image in val",
        "the same bytes as 12.png of val",
        lambda r: shutil.copy(r / "val/12.png", r / "train/1.png"),
    ),
    ("near duplicate in val", "looks like 1.png of train", lambda r: nearly(r)),
]


def nearly(root):
    pixels = np.asarray(Image.open(root / "val/12.png")).copy()
    pixels[0, 0] ^= 1
    replace(root, Image.fromarray(pixels))


@pytest.mark.parametrize(("kind", "words", "spoil"), FILES, ids=[f"{kind}: {words}" for kind, words, _ in FILES])
def test_image_files(root, kind, words, spoil):
    spoil(root)
    problems, out = make(root)
    (found,) = [p for p in problems if p["kind"] == kind]
    assert words in found["message"] and found["effect"] == KINDS[kind][0]
    assert found["file"].startswith(("images/train/", "images/val/"))
    left = open_split(out, "train")
    assert left.ids == ([2, 3, 4, 5, 6] if found["effect"] == "drop image" else [1, 2, 3, 4, 5, 6])
    assert {p.name for p in (out / "images/train").iterdir()} == {f"{i}.png" for i in left.ids}
    assert all(decode(r.path).shape == (32, 48, 3) for r in left.images.values())


def test_sixteen_bits_keep_their_upper_eight(root):
    """Pillow alone would make white of everything above 255."""
    path = root / "train/1.png"
    Image.fromarray(np.array([[0, 255, 256, 4096, 65535]], np.uint16)).save(path)
    assert decode(path)[0, :, 1].tolist() == [0, 0, 1, 16, 255]


def test_annotations_of_the_upright_view_are_recognised(root):
    picture(1).save(root / "train/1.png", exif=turned(6))
    edit(root, lambda d: d["images"][0].update(width=SIZE[1], height=SIZE[0]))
    problems, _ = make(root)
    (found,) = [p for p in problems if p["kind"] == "image size"]
    assert "made on the upright view" in found["message"]


def test_links_that_lead_nowhere_or_to_themselves(root):
    for name, target in (("1.png", "1.png"), ("2.png", "nowhere.png")):
        (root / "train" / name).unlink()
        (root / "train" / name).symlink_to(target)
    problems, out = make(root)
    assert [p["kind"] for p in problems] == ["image missing"] * 2
    assert all("a link that leads nowhere or to itself" in p["message"] for p in problems)
    assert open_split(out, "train").ids == [3, 4, 5, 6]


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


def test_file_names_in_any_script_work(root):
    name = "ö 图像 é.png"
    (root / "train/1.png").rename(root / "train" / name)
    edit(root, lambda d: d["images"][0].update(file_name=name))
    problems, out = make(root)
    assert problems == [] and (out / "images/train" / name).exists()


def test_a_large_index_is_checked_by_entry_not_by_pair():
    """20,000 images and 60,000 boxes: every one is looked at once, and one bad box among them is found."""
    count = 20_000
    images = [{"id": i, "file_name": "x.png", "width": 64, "height": 64} for i in range(count)]
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
