import json

import numpy as np
import pytest
from PIL import Image

from parity.data import yolo
from parity.data.build import build
from parity.data.coco import open_split
from parity.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Four images of 40 x 20: a box, a polygon beside a box that stands twice, no label file, all of it."""
    root = tmp_path / "data"
    for folder in ("images/train", "images/val", "labels/train", "labels/val"):
        (root / folder).mkdir(parents=True)
    for shade, name in enumerate(("train/a", "train/b", "train/ö c", "val/d")):
        Image.new("RGB", (40, 20), (shade, 0, 0)).save(root / f"images/{name}.png")
    (root / "labels/train/a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (root / "labels/train/b.txt").write_text("0 0.1 0.2 0.4 0.2 0.3 0.9\n1 0 0 1 1\n1 0 0 1 1\n")
    (root / "labels/val/d.txt").write_text("0 0.5 0.5 1 1\n")
    (root / "data.yaml").write_text("path: /somewhere/else\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def made(folder, out, **changes):
    build({"source": "yolo", "root": str(folder)} | changes, out)
    return open_split(out, "train")


def problems(out):
    return json.loads((out / "check.json").read_text())["problems"]


def test_boxes_become_pixels(root, tmp_path):
    dataset = made(root, tmp_path / "out")
    a, b, c = dataset.images.values()
    assert [r.file_name for r in (a, b, c)] == [f"images/train/{n}.png" for n in ("a", "b", "ö c")]
    np.testing.assert_allclose(a.boxes, [[15, 5, 25, 15]])
    np.testing.assert_allclose(b.boxes, [[4, 4, 16, 18], [0, 0, 20, 10]], rtol=1e-6)  # the second one is clipped
    assert a.labels.tolist() == [1] and b.labels.tolist() == [0, 1] and len(c.labels) == 0
    assert [(k.id, k.name) for k in dataset.categories] == [(1, "cat"), (2, "dog")]
    assert len(open_split(tmp_path / "out", "val").images[4].labels) == 1
    assert json.loads((tmp_path / "out/manifest.json").read_text())["splits"]["train"]["empty"] == 1


def test_lists_and_mappings_do_as_well(root, tmp_path):
    (root / "few.txt").write_text("./images/train/a.png\n\nimages/train/b.png\n")
    (root / "data.yaml").write_text("train: [few.txt]\nval: images/val\nnames: {0: cat, 1: dog}\nnc: 2\n")
    assert [r.file_name for r in made(root, tmp_path / "out").images.values()] == [
        "images/train/a.png",
        "images/train/b.png",
    ]


def test_both_splits_are_drawn_from_train_where_there_is_no_val(root, tmp_path):
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    with pytest.raises(UserError, match=r"has no val; set data\.train_images and data\.val_images"):
        made(root, tmp_path / "out")
    train = made(root, tmp_path / "out", train_images=2, val_images=1)
    assert sorted(train.ids + open_split(tmp_path / "out", "val").ids) == [1, 2, 3]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/images/a.b.png", "images/labels/a.b.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("all/a.png", "all/a.txt"),
        ("images.png", "images.txt"),
    ],
)
def test_labels_lie_beside_the_images(image, labels):
    assert yolo.label_file(image) == labels


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.5 0.5 0.25", "line 2: has 4 numbers"),
        ("1 0.5 0.5 0.25 0.5 0.9", "line 2: has 6 numbers"),
        ("1 0.5 0.5 x 0.5", "line 2: .* expected numbers"),
        ("2 0.5 0.5 0.25 0.5", "line 2: class 2 is not among the 2 names"),
        ("-1 0.5 0.5 0.25 0.5", "line 2: class -1"),
        ("0.5 0.5 0.5 0.25 0.5", "line 2: class 0.5"),
        ("nan 0.5 0.5 0.25 0.5", "line 2: class nan"),
        ("1 20 10 10 10", "line 2: 20 10 10 10 are not parts of the image"),
        ("1 0.5 0.5 nan 0.5", "line 2: .* are not parts of the image"),
        ("1 0.5 0.5 -0.25 0.5", "line 2: .* are not parts of the image"),
    ],
)
def test_malformed_lines_are_named(root, tmp_path, line, message):
    path = root / "labels/train/a.txt"
    path.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(UserError, match=message) as caught:
        made(root, tmp_path / "out")
    assert str(path) in str(caught.value) and not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1", "expected a mapping"),
        ("train: images/train\nval: images/val", "names is None"),
        ("train: images/train\nval: images/val\nnames: [yes, no]", r"names is \[True, False\]"),
        ("train: images/train\nval: images/val\nnames: []", r"names is \[\]"),
        ("train: images/train\nval: images/val\nnames: {1: cat, 2: dog}", "names has the indices"),
        ("train: images/train\nval: images/val\nnames: [cat]\nnc: 2", "nc is 2, but names has 1"),
        ("val: images/val\nnames: [cat, dog]", "has no train"),
        ("train: /images\nval: images/val\nnames: [cat, dog]", "leaves the dataset's folder"),
        ("train: ../elsewhere\nval: images/val\nnames: [cat, dog]", "leaves the dataset's folder"),
        ("train: labels/train\nval: images/val\nnames: [cat, dog]", "holds no image"),
        ("train: nothing\nval: images/val\nnames: [cat, dog]", "nothing: cannot be read"),
        ("train: {a: 1}\nval: images/val\nnames: [cat, dog]", "expected a folder of images"),
        ("train: images/train\nval: images/train\nnames: [cat, dog]", "images/train/a.png is in both splits"),
        ("train: [images/train, images/train]\nval: images/val\nnames: [cat, dog]", "twice"),
    ],
)
def test_a_malformed_data_file_is_named(root, tmp_path, content, message):
    (root / "data.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        made(root, tmp_path / "out")


def test_images_that_are_broken_or_turned_go(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "images/train/a.png"
    for spoil, kind, words in (
        (lambda: Image.new("RGB", (40, 20)).save(path, exif=exif), "image size", "lying on its side"),
        (lambda: path.write_bytes(b"no image"), "image unreadable", "cannot be read as an image"),
    ):
        spoil()
        assert made(root, tmp_path / "out").ids == [2, 3]
        (found,) = [p for p in problems(tmp_path / "out") if p["kind"] == kind]
        assert found["file"] == str(path) and words in found["message"]


def test_every_broken_label_file_is_listed_and_many_broken_images_stop(root, tmp_path):
    for name in ("a", "b"):
        (root / f"labels/train/{name}.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UserError, match=r"a\.txt: line 1: class 9 .* \(and 1 more problems"):
        made(root, tmp_path / "out")
    assert [p["id"] for p in problems(tmp_path / "out")] == ["1", "2"]
    for name in ("a", "b"):
        (root / f"images/train/{name}.png").write_bytes(b"")
    with pytest.raises(UserError, match="2 of 3 images would be dropped: image unreadable 2"):
        made(root, tmp_path / "out")


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_a_missing_root_is_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"data\.root"):
        build({"source": "yolo", "root": folder}, tmp_path / "out")
