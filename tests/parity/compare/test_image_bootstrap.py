"""The resampled AP against pycocotools itself."""

import contextlib
import copy
import io
import json

import fake_results
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from parity.compare.image_bootstrap import _match, average_precision, compare
from parity.train.evaluate import evaluate


def coco_ap(truth: dict, entries: list[dict]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(entries), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.fixture
def files(tmp_path):
    fake_results.make(tmp_path)
    run = tmp_path / "fakedet/runs/torch/fake-s0"
    return (
        tmp_path / "data/fake-0000/annotations/val.json",
        run / "detections.json",
        run / "cross/jittor/detections.json",
    )


def test_equals_cocoeval_on_the_whole_set(files):
    annotations, first, second = files
    truth = json.loads(annotations.read_text())
    result = compare(annotations, first, second, samples=100)
    for value, path in ((result.first, first), (result.second, second)):
        assert value == pytest.approx(coco_ap(truth, json.loads(path.read_text())), abs=1e-12)
        assert 0.05 < value < 0.95


def test_a_weight_counts_like_copies_of_the_image(files):
    annotations, first, _ = files
    truth, entries = json.loads(annotations.read_text()), json.loads(first.read_text())
    copies = [2, 0, 1, 3, 1, 0]
    repeated, found = copy.deepcopy(truth) | {"images": [], "annotations": []}, []
    for image, times in zip(truth["images"], copies, strict=True):
        for k in range(times):
            new = image["id"] + 100 * (k + 1)
            repeated["images"].append(image | {"id": new})
            for annotation in truth["annotations"]:
                if annotation["image_id"] == image["id"]:
                    fresh = {"id": len(repeated["annotations"]) + 1, "image_id": new}
                    repeated["annotations"].append(annotation | fresh)
            found += [entry | {"image_id": new} for entry in entries if entry["image_id"] == image["id"]]
    with contextlib.redirect_stdout(io.StringIO()):
        categories = _match(COCO(str(annotations)), entries)
    assert average_precision(categories, np.array(copies, float)) == pytest.approx(coco_ap(repeated, found), abs=1e-12)


def test_identical_detections_have_no_difference_and_no_spread(files):
    annotations, first, _ = files
    result = compare(annotations, first, first, samples=100)
    assert result.identical
    assert (result.difference, result.low, result.high) == (0, 0, 0)


def test_losing_detections_shows_as_a_negative_difference(files, tmp_path):
    annotations, first, _ = files
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps(json.loads(first.read_text())[:3]))
    result = compare(annotations, first, worse, samples=200)
    assert result.high < 0
    assert result.low <= result.difference <= result.high


def test_the_interval_is_reproducible(files):
    annotations, first, second = files
    assert compare(annotations, first, second, samples=100) == compare(annotations, first, second, samples=100)


def test_no_detections_at_all_gives_zero(files, tmp_path):
    annotations, first, _ = files
    nothing = tmp_path / "nothing.json"
    nothing.write_text("[]")
    assert compare(annotations, first, nothing, samples=100).second == 0.0


def test_a_ground_truth_with_id_0_counts_as_it_does_in_the_ap_beside(tmp_path):
    box = {"bbox": [4.0, 4.0, 20.0, 20.0], "category_id": 1}
    truth = {"images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}]}
    truth |= {"categories": [{"id": 1, "name": "a"}]}
    truth |= {"annotations": [{"id": 0, "image_id": 1, "area": 400.0, "iscrowd": 0, **box}]}
    (tmp_path / "val.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps([{"image_id": 1, "score": 0.9, **box}]))
    found = tmp_path / "found.json"
    boot = compare(tmp_path / "val.json", found, found, samples=100)
    assert boot.first == pytest.approx(evaluate(tmp_path / "val.json", found)["metrics"]["AP"]) == pytest.approx(1.0)
