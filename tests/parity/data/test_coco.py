import json

import numpy as np
import pytest

from parity.data import coco
from parity.errors import UserError


def document():
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 20, "height": 10},
            {"id": 3, "file_name": "a.png", "width": 30, "height": 30},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [-5, 2, 10, 20], "area": 1, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [4, 4, 3, 3], "area": 9, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [4, 4, 0, 3], "area": 0, "iscrowd": 0},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [25, 4, 5, 3], "area": 15, "iscrowd": 0},
            {"id": 5, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2.5, 3], "area": 15},
        ],
    }


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_targets_follow_the_official_rules(tmp_path):
    dataset = coco.load(write(tmp_path / "a.json", document()), None)
    assert dataset.ids == [3, 7]
    record = dataset.images[7]
    np.testing.assert_array_equal(record.boxes, np.array([[0, 2, 5, 10], [1, 1, 3.5, 4]], np.float32))
    np.testing.assert_array_equal(record.labels, [1, 0])
    assert (record.crowd, record.dropped) == (1, 2)
    assert dataset.images[3].boxes.shape == (0, 4) and dataset.images[3].boxes.dtype == np.float32


def test_label_spaces(tmp_path):
    path = write(tmp_path / "a.json", document())
    contiguous, raw = coco.load(path, None), coco.load(path, None, "coco_id")
    assert contiguous.label_of == {1: 0, 18: 1} and contiguous.category_of == {0: 1, 1: 18}
    assert contiguous.class_names == {0: "person", 1: "dog"}
    assert raw.category_of == {1: 1, 18: 18}
    np.testing.assert_array_equal(raw.images[7].labels, [18, 1])
    assert coco.class_names(path) == {1: "person", 18: "dog"}
    with pytest.raises(UserError, match="label_space: 'rank'"):
        coco.load(path, None, "rank")


def changed(*steps):
    """The document with one value replaced: keys, then the value (`...` deletes)."""
    value = document()
    *keys, last, new = steps
    target = value
    for key in keys:
        target = target[key]
    if new is ...:
        del target[last]
    else:
        target[last] = new
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not valid JSON"),
        ([], "holds a list"),
        (changed("categories", ...), "has no key 'categories'"),
        (changed("images", {}), "images is a dict"),
        (changed("categories", []), "categories is empty"),
        (changed("categories", 1, "id", 18), r"categories\[1\]: id 18 is used twice"),
        (changed("categories", 0, "name", ...), r"categories\[0\]: name is None"),
        (changed("images", 1, "id", 7), r"images\[1\]: id 7 is used twice"),
        (changed("images", 0, "id", True), r"images\[0\]: id is True"),
        (changed("images", 0, "id", -1), r"images\[0\]: id is -1"),
        (changed("images", 0, "width", 0), r"images\[0\]: width is 0"),
        (changed("images", 0, "file_name", "../x.png"), r"images\[0\]: file_name '../x.png' leaves"),
        (changed("images", 0, "file_name", "/x.png"), r"images\[0\]: file_name '/x.png' leaves"),
        (changed("images", 0, "file_name", ...), r"images\[0\]: file_name is None"),
        (changed("images", 0, 5), r"images\[0\]: is a int"),
        (changed("annotations", 0, "category_id", 2), r"annotations\[0\]: category_id 2 is not among"),
        (changed("annotations", 0, "image_id", 2), r"annotations\[0\]: image_id 2 is not among"),
        (changed("annotations", 0, "id", 2), r"annotations\[1\]: id 2 is used twice"),
        (changed("annotations", 0, "bbox", [1, 2, 3]), r"annotations\[0\]: bbox is \[1, 2, 3\]"),
        (changed("annotations", 0, "bbox", [1, 2, 3, "4"]), r"annotations\[0\]: bbox is"),
        (changed("annotations", 0, "bbox", [1, 2, 3, float("nan")]), r"annotations\[0\]: bbox is"),
        (changed("annotations", 0, "bbox", ...), r"annotations\[0\]: bbox is None"),
        (changed("annotations", 0, "iscrowd", 2), r"annotations\[0\]: iscrowd is 2"),
    ],
)
def test_malformed_files_are_named(tmp_path, value, message):
    path = write(tmp_path / "a.json", value)
    with pytest.raises(UserError, match=message) as caught:
        coco.load(path, None)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        coco.load(tmp_path / "none.json", None)
    with pytest.raises(UserError, match=r"b\.png: image is missing"):
        coco.load(write(tmp_path / "a.json", document()), tmp_path)
