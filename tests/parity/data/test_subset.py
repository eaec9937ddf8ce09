import json
import os
from pathlib import Path

import numpy as np
import pytest

from parity.data.build import build
from parity.data.coco import Category, Dataset, ImageRecord, load, open_split
from parity.data.plan import generator
from parity.data.subset import choose, pinned
from parity.errors import UserError
from parity.files import file_sha256, read_json

PLACES = {
    "source": "coco",
    "annotations": {"train": "annotations/train.json", "val": "annotations/val.json"},
    "images": {"train": "images/train", "val": "images/val"},
}


def config(root, **changes):
    return PLACES | {"root": str(root), "train_images": 6, "val_images": 3, "seed": 1} | changes


def test_subset_is_a_dataset_with_a_true_manifest(shapes, tmp_path):
    out = tmp_path / "subset"
    manifest = build(config(shapes), out)
    assert manifest == read_json(out / "manifest.json")
    assert manifest["source"]["source"] == "coco" and manifest["classes"][3] == {"id": 5, "name": "ring"}
    for split, count in (("train", 6), ("val", 3)):
        dataset, about = open_split(out, split), manifest["splits"][split]
        assert about["ids"] == dataset.ids and about["images"] == len(dataset) == count
        assert set(dataset.ids) <= set(open_split(shapes, split).ids)
        names = [dataset.class_names[int(label)] for r in dataset.images.values() for label in r.labels]
        assert about["counts"] == {name: names.count(name) for name in about["counts"]}
        assert about["crowd"] == sum(r.crowd for r in dataset.images.values())
        assert about["annotations"] == len(names) + about["crowd"]
        assert about["empty"] == sum(not len(r.labels) and not r.crowd for r in dataset.images.values())
        for record in dataset.images.values():
            assert about["sha256"][record.file_name] == file_sha256(record.path)
        document = json.loads((out / "annotations" / f"{split}.json").read_text())
        assert not any("segmentation" in annotation for annotation in document["annotations"])


def test_same_seed_same_subset_whatever_the_kind_of_files(shapes, tmp_path):
    digests, ids = set(), set()
    for kind in ("link", "relative", "copy"):
        manifest = build(config(shapes, files=kind), tmp_path / kind)
        digests.add(manifest["digest"])
        ids.add(tuple(manifest["splits"]["train"]["ids"]))
        image = next((tmp_path / kind / "images" / "train").iterdir())
        assert image.is_symlink() == (kind != "copy")
        if image.is_symlink():
            assert os.path.isabs(os.readlink(image)) == (kind == "link")
    assert len(digests) == len(ids) == 1
    other = build(config(shapes, seed=2), tmp_path / "other")
    assert tuple(other["splits"]["train"]["ids"]) not in ids


def test_explicit_ids(shapes, tmp_path):
    manifest = build(config(shapes, train_ids=[1000004, 1000002], val_ids=[2000001]), tmp_path / "named")
    assert manifest["splits"]["train"]["ids"] == [1000002, 1000004]
    with pytest.raises(UserError, match=r"data.train_ids: 5 is not among the images"):
        build(config(shapes, train_ids=[5]), tmp_path / "wrong")
    with pytest.raises(UserError, match=r"data.train_ids: is empty or names an image twice"):
        build(config(shapes, train_ids=[1000002, 1000002]), tmp_path / "wrong")


@pytest.mark.parametrize("both_from_val", [False, True])
def test_a_smaller_subset_is_a_part_of_a_larger_one(shapes, tmp_path, both_from_val):
    places = {"annotations": {"train": None, "val": "annotations/train.json"}, "images": {"val": "images/train"}}
    named = {}
    for count in (1, 2, 5, 8):
        changes = {"train_images": count} | (places if both_from_val else {})
        splits = build(config(shapes, **changes), tmp_path / str(count))["splits"]
        named[count] = set(splits["train"]["ids"])
        assert splits["val"]["ids"] == read_json(tmp_path / "1/manifest.json")["splits"]["val"]["ids"]
    assert named[1] < named[2] < named[5] < named[8] and len(named[8]) == 8


def test_ids_in_a_file(shapes, tmp_path):
    listed = tmp_path / "ids.txt"
    listed.write_text("1000004\n\n1000002\n")
    for ids in (str(listed), pinned(str(listed))):
        splits = build(config(shapes, train_ids=ids, val_ids=[2000001]), tmp_path / "named")["splits"]
        assert splits["train"]["ids"] == [1000002, 1000004] and splits["val"]["ids"] == [2000001]
    pin = pinned(str(listed))
    listed.write_text("1000003\n")
    assert pinned(str(listed)) != pin
    with pytest.raises(UserError, match=r"data.train_ids: .*ids.txt was changed"):
        build(config(shapes, train_ids=pin), tmp_path / "wrong")
    listed.write_text("1000003\nseven\n")
    with pytest.raises(UserError, match=r"ids.txt: .*'seven'.*expected an image id per line"):
        build(config(shapes, val_ids=str(listed)), tmp_path / "wrong")
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        pinned(str(tmp_path / "none.txt"))


def test_both_splits_from_val_share_no_image(shapes, tmp_path):
    only_val = {"train": None, "val": "annotations/train.json"}
    settings = config(shapes, annotations=only_val, images={"val": "images/train"}, train_images=8, val_images=6)
    splits = build(settings, tmp_path / "both")["splits"]
    assert len(set(splits["train"]["ids"]) | set(splits["val"]["ids"])) == 14
    with pytest.raises(UserError, match=r"data.train_images: 9, expected 1 to 8"):
        build(settings | {"train_images": 9}, tmp_path / "too_many")
    with pytest.raises(UserError, match=r"data.train_ids: 1000001 is in the other split"):
        build(settings | {"train_ids": [1000001], "val_ids": [1000001]}, tmp_path / "twice")


def labelled(sets):
    """A dataset whose image i (from 1) shows the classes of sets[i - 1]."""
    images = {
        i: ImageRecord(
            i, f"{i}.png", Path(f"{i}.png"), 9, 9, np.zeros((len(s), 4), np.float32), np.array(sorted(s), int)
        )
        for i, s in enumerate(sets, 1)
    }
    return Dataset(Path("none.json"), images, [Category(i, str(i)) for i in range(6)], "contiguous")


def test_cover_shows_every_class_with_few_images():
    """Ten images of one class, and the other five classes in two images: any seed must pick those two."""
    dataset = labelled([{0}] * 5 + [{1, 2, 3}] + [{0}] * 5 + [{4, 5}])
    for seed in range(20):
        chosen = choose(dataset, 3, None, generator(seed))
        assert {6, 12} <= set(chosen) and len(chosen) == 3
    assert choose(dataset, 1, None, generator(0)) == [6]
    assert choose(dataset, None, None, generator(0)) == dataset.ids


def test_failures_leave_nothing_behind(shapes, tmp_path):
    with pytest.raises(UserError, match=r"data.root: .* is not a folder"):
        build(config(tmp_path / "nowhere"), tmp_path / "out")
    with pytest.raises(UserError, match=r"set data.annotations.train to null"):
        build(config(shapes, annotations={"train": "none.json"}), tmp_path / "out")
    with pytest.raises(UserError, match=r"data.files: 'hard'"):
        build(config(shapes, files="hard"), tmp_path / "out")
    with pytest.raises(UserError, match=r"data.colour: is unknown to source coco"):
        build(config(shapes, colour=1), tmp_path / "out")
    with pytest.raises(UserError, match=r"data.source: 'imagenet'"):
        build({"source": "imagenet"}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_building_again_replaces_the_folder(shapes, tmp_path):
    out = tmp_path / "subset"
    out.mkdir()
    build(config(shapes), out)
    (out / "images" / "train" / "stray.png").write_bytes(b"")
    build(config(shapes, val_images=2), out)
    assert not (out / "images" / "train" / "stray.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["subset"]


def test_fifty_and_fifty_of_real_coco(tmp_path):
    root = os.environ.get("PARITY_COCO_TINY")
    if not root or not Path(root).is_dir():
        pytest.skip("PARITY_COCO_TINY does not name a folder of COCO images (annotations/, train2017/, val2017/)")
    settings = {"source": "coco", "root": root, "train_images": 50, "val_images": 50, "seed": 0}
    manifest = build(settings, tmp_path / "coco")
    assert len(manifest["classes"]) == 80
    for split in ("train", "val"):
        about = manifest["splits"][split]
        everything = load(Path(root) / f"annotations/instances_{split}2017.json", None)
        present = {everything.class_names[int(label)] for r in everything.images.values() for label in r.labels}
        assert about["images"] == len(about["sha256"]) == 50
        assert {name for name, count in about["counts"].items() if count} == present
        boxes = np.concatenate([r.boxes for r in open_split(tmp_path / "coco", split).images.values()])
        assert len(boxes) == sum(about["counts"].values()) and (boxes[:, 2:] > boxes[:, :2]).all()
