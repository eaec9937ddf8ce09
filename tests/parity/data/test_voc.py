import json

import numpy as np
import pytest
from PIL import Image

from parity.data import voc
from parity.data.build import build
from parity.data.coco import open_split
from parity.errors import UserError

OBJECT = """<object><name>{name}</name>{extra}
  <bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>
  <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def thing(name="dog", box=(3, 4, 20, 15), extra=""):
    x1, y1, x2, y2 = box
    return OBJECT.format(name=name, x1=x1, y1=y1, x2=x2, y2=y2, extra=extra)


def annotation(file_name, *objects, size="<size><width>40</width><height>30</height><depth>3</depth></size>"):
    return f"<annotation><filename>{file_name}</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def root(tmp_path):
    """Three images; the second has a difficult object and one without the optional fields."""
    root = tmp_path / "VOC2007"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    content = {
        "000007": [thing(), thing("person", (1, 1, 40, 30))],
        "000012": [thing("cat", extra="<difficult>1</difficult>"), thing("dog", (5, 5, 5.5, 9))],
        "000020": [thing("cow")],
    }
    for name, objects in content.items():
        Image.new("RGB", (40, 30), (int(name), 0, 0)).save(root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_text(annotation(f"{name}.jpg", *objects))
    (root / "ImageSets/Main/train.txt").write_text("000007\n000012 -1\n\n")
    (root / "ImageSets/Main/val.txt").write_text("000020\n")
    return root


def made(folder, out, **changes):
    build({"source": "voc", "root": str(folder)} | changes, out)
    return open_split(out, "train"), json.loads((out / "annotations/train.json").read_text())


def test_objects_become_targets_and_parts_do_not(root, tmp_path):
    dataset, document = made(root, tmp_path / "out")
    assert dataset.ids == [7, 12] and open_split(tmp_path / "out", "val").ids == [20]
    assert [c.name for c in dataset.categories] == voc.CLASSES and dataset.label_of[12] == 11
    np.testing.assert_array_equal(dataset.images[7].boxes, [[3, 4, 20, 15], [1, 1, 40, 30]])
    np.testing.assert_array_equal(dataset.images[7].labels, [11, 14])
    assert [a.get("difficult", 0) for a in document["annotations"]] == [0, 0, 1, 0]
    assert len(dataset.images[12].labels) == 2
    assert not (tmp_path / "out/source").exists()
    assert document["info"]["format"] == "voc" and document["info"]["one_based"] is False


def test_one_based_corners_become_pixel_edges(root, tmp_path):
    dataset, document = made(root, tmp_path / "out", one_based=True)
    np.testing.assert_array_equal(dataset.images[7].boxes, [[2, 3, 20, 15], [0, 0, 40, 30]])
    assert document["annotations"][0]["area"] == 18 * 12 and document["info"]["one_based"] is True


def test_difficult_objects_can_be_ignored(root, tmp_path):
    dataset, document = made(root, tmp_path / "out", difficult="ignore")
    assert dataset.images[12].crowd == 1 and len(dataset.images[12].labels) == 1
    assert [(a["iscrowd"], a.get("ignore", 0)) for a in document["annotations"]] == [(0, 0), (0, 0), (1, 1), (0, 0)]


def test_classes_can_be_named_or_are_collected(root, tmp_path):
    dataset, _ = made(root, tmp_path / "a", classes=["person", "dog", "cow", "cat"])
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "person"), (2, "dog"), (3, "cow"), (4, "cat")]
    with pytest.raises(UserError, match=r"000012\.xml: object 'cat' is not among data\.classes"):
        made(root, tmp_path / "b", classes=["person", "dog", "cow"])
    (root / "Annotations/000020.xml").write_text(annotation("000020.jpg", thing("zebra"), thing("cow")))
    dataset, _ = made(root, tmp_path / "c")
    assert [c.name for c in dataset.categories] == ["cat", "cow", "dog", "person", "zebra"]


def test_ids_are_digits_or_ranks():
    assert voc.number(["2008_000002", "2007_000123"]) == {"2008_000002": 2008000002, "2007_000123": 2007000123}
    assert voc.number(["b", "a"]) == {"a": 1, "b": 2}
    assert voc.number(["1", "01"]) == {"01": 1, "1": 2}  # would be the same number


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "is not valid XML"),
        ("", "is not valid XML"),
        (b"<annotation>\xff</annotation>", "is not valid XML"),
        ("<voc/>", "holds <voc>, expected <annotation>"),
        ("<annotation/>", "has no <filename>"),
        (annotation("../000007.jpg"), "leaves the image folder"),
        (annotation("/000007.jpg"), "leaves the image folder"),
        (annotation("000007.jpg", size=""), "has no <size><width>"),
        (annotation("000007.jpg", size="<size><width>0</width><height>3</height></size>"), "size is 0 x 3"),
        (annotation("000007.jpg", thing(name="")), r"object\[0\]: has no <name>"),
        (annotation("000007.jpg", thing(), "<object><name>dog</name></object>"), r"object\[1\]: has no <bndbox><xmin>"),
        (annotation("000007.jpg", thing(box=("a", 1, 2, 3))), r"<bndbox><xmin> is 'a', expected a number"),
        (annotation("000007.jpg", thing(box=("nan", 1, 2, 3))), "expected a number"),
        (annotation("000007.jpg", thing(extra="<difficult>x</difficult>")), "difficult is 'x'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + annotation("&b;"), "declares a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname">' + annotation("000007.jpg"), "declares a document type"),
    ],
)
def test_malformed_files_are_named(root, tmp_path, content, message):
    path = root / "Annotations/000007.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        made(root, tmp_path / "out")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out/manifest.json").exists() and (tmp_path / "out/check.md").exists()


def test_inverted_boxes_and_missing_images_go(root, tmp_path):
    (root / "Annotations/000007.xml").write_text(annotation("000007.jpg", thing(), thing(box=(9, 1, 2, 3))))
    (root / "Annotations/000012.xml").write_text(annotation("9.jpg", thing()))
    dataset, _ = made(root, tmp_path / "out")
    assert dataset.ids == [7] and len(dataset.images[7].labels) == 1
    report = (tmp_path / "out/check.md").read_text()
    assert "## box inverted (drop box)" in report and f"| {root}/Annotations | annotations[1] id 2 |" in report
    assert f"| {root}/JPEGImages/9.jpg | 12 | there is no such file |" in report


def test_a_billion_laughs_are_refused_before_the_first(root, tmp_path):
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    (root / "Annotations/000007.xml").write_text(f"<!DOCTYPE a [{entities}]>" + annotation("&e11;"))
    with pytest.raises(UserError, match="declares a document type"):
        made(root, tmp_path / "out")


def test_a_huge_file_is_refused(root, tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match=r"000007\.xml: is larger than"):
        made(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", "names no image"),
        ("000007\n000007\n", "names 000007 twice"),
        ("000020\n", "000020 is in the train split already"),
        ("../x\n", "leaves the folder"),
        ("000099\n", r"000099\.xml: cannot be read"),
    ],
)
def test_malformed_lists_are_named(root, tmp_path, train, message):
    (root / "ImageSets/Main/train.txt").write_text(train)
    with pytest.raises(UserError, match=message):
        made(root, tmp_path / "out")


def test_a_list_that_is_missing_or_no_text_is_named(root, tmp_path):
    (root / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match=r"train\.txt: is not UTF-8 text \(byte 0\)"):
        made(root, tmp_path / "out")
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        made(root, tmp_path / "out", splits={"train": "none.txt"})


@pytest.mark.parametrize(("key", "value"), [("root", None), ("root", "none"), ("difficult", "drop"), ("classes", [])])
def test_bad_settings_are_named(root, tmp_path, key, value):
    with pytest.raises(UserError, match=rf"data\.{key}"):
        made(root, tmp_path / "out", **{key: value})
