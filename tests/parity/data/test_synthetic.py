import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from parity.data import synthetic
from parity.data.build import build
from parity.data.coco import open_split
from parity.data.plan import generator
from parity.errors import UserError
from parity.files import read_json


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_regenerating_gives_the_same_bytes(shapes, tmp_path, small):
    build(small, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(shapes)


def test_another_seed_gives_other_images(shapes, tmp_path, small):
    manifest = build(small | {"seed": 4}, tmp_path / "other")
    assert manifest["digest"] != read_json(shapes / "manifest.json")["digest"]


def test_more_images_leave_the_first_ones_alone(shapes, tmp_path, small):
    build(small | {"train_images": 16}, tmp_path / "more")
    assert contents(shapes / "images").items() <= contents(tmp_path / "more" / "images").items()


def test_splits_share_no_image_id_and_every_class_has_a_name(shapes):
    train, val = open_split(shapes, "train"), open_split(shapes, "val")
    assert not set(train.ids) & set(val.ids)
    assert list(train.class_names.values()) == ["circle", "square", "triangle", "ring", "cross", "star", "bar"]
    assert (len(train), len(val)) == (14, 5)


def test_default_dataset_has_every_class_size_crowds_and_empty_images():
    found, empty, crowds = [], 0, 0
    config = synthetic.DEFAULTS
    for index in range(config["val_images"]):
        _, annotations = synthetic.draw_image(config, generator(config["seed"], 1, index))
        empty += not annotations
        crowds += sum(a["iscrowd"] for a in annotations)
        found += [a for a in annotations if not a["iscrowd"]]
    areas = np.array([a["area"] for a in found])
    assert empty >= 1 and crowds >= 2
    assert {a["category_id"] for a in found} == set(synthetic.CATEGORIES)
    assert (areas < 32**2).any() and (areas > 96**2).any() and ((areas > 32**2) & (areas < 96**2)).mean() > 0.4
    assert 1 <= len(found) / (config["val_images"] - empty) <= 5


def test_boxes_lie_inside_and_run_lengths_agree_with_pycocotools(shapes):
    document = json.loads((shapes / "annotations" / "train.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    crowds = 0
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        width, height = sizes[annotation["image_id"]]
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
        if annotation["iscrowd"]:
            crowds += 1
            code = coco_mask.frPyObjects(annotation["segmentation"], height, width)
            assert coco_mask.area(code) == annotation["area"]
            assert coco_mask.toBbox(code).tolist() == annotation["bbox"]
    assert crowds > 0


def test_run_lengths_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[1, 0], [1, 1]], bool)
    assert synthetic.run_lengths(mask) == {"counts": [0, 2, 1, 1], "size": [2, 2]}


def test_a_shape_stands_out_where_its_box_says(shapes):
    """The box of a visible shape is tight: the images really show what the annotations say."""
    alpha = synthetic._alpha("square", 0.0, (30.0, 20.0), 10.0, (64, 48))
    box = synthetic._annotation(2, alpha > 127)["bbox"]
    assert box == [21, 11, 18, 18]


def test_covered_part_stays_below_the_limit():
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(12):
        shape = synthetic._place(rng, 64, 64, shapes, None)
        if shape is not None:
            synthetic._cover(shapes, shape)
            shapes.append(shape)
    assert len(shapes) > 3
    assert min(s.visible.sum() / s.own.sum() for s in shapes) >= 1 - synthetic.MOST_COVERED


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_images", 0), ("image_size", [300, 100]), ("objects", [0, 2]), ("crowd_fraction", 1.5), ("seed", -1)],
)
def test_bad_settings_are_named(tmp_path, key, value, small):
    with pytest.raises(UserError, match=f"data.{key}"):
        build(small | {key: value}, tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


def test_images_are_rgb_png_of_the_promised_size(shapes):
    for record in open_split(shapes, "val").images.values():
        with Image.open(record.path) as picture:
            assert picture.mode == "RGB" and picture.format == "PNG" and picture.size == (record.width, record.height)
            assert 48 <= min(picture.size) <= max(picture.size) <= 72


def test_validation_may_be_on_the_training_images_themselves(tmp_path):
    build({"source": "synthetic", "train_images": 3, "val_images": 2, "val_is_train": True}, tmp_path / "data")
    pixels = [
        [path.read_bytes() for path in sorted((tmp_path / f"data/images/{split}").iterdir())]
        for split in ("train", "val")
    ]
    assert len(pixels[0]) == 3 and pixels[0] == pixels[1]
    with pytest.raises(UserError, match=r"data\.val_is_train: 1, expected true or false"):
        build({"source": "synthetic", "val_is_train": 1}, tmp_path / "other")
