"""Curves, best thresholds and confusions, against COCOeval's own numbers and against counts made by hand."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from parity.compare.precision_recall import EVERY, BestF1, Found, best_f1, matched
from parity.compare.quality import quality
from parity.errors import UserError
from parity.train.evaluate import evaluate, ground_truth, judged

FIXTURE = Path(__file__).parents[1] / "fixtures" / "eval_reference.json.gz"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Files of annotations and detections of 100 images of COCO, 80 classes, crowds among them."""
    content = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    folder = tmp_path_factory.mktemp("reference")
    for name in ("annotations", "detections"):
        (folder / f"{name}.json").write_text(json.dumps(content[name]))
    return folder / "annotations.json", folder / "detections.json"


def test_the_mean_of_each_curve_is_the_ap_of_cocoeval(reference):
    printed, found = evaluate(*reference), quality(*reference)
    every, *classes = found.curves
    assert every.name == EVERY and len(classes) == len(printed["per_class"]) == 80
    assert every.mean.mean() == pytest.approx(printed["metrics"]["AP"], abs=1e-12)
    assert every.at50.mean() == pytest.approx(printed["metrics"]["AP50"], abs=1e-12)
    for curve, row in zip(classes, printed["per_class"], strict=True):
        assert (curve.name, curve.objects) == (row["name"], row["instances"])
        if row["AP"] is None:
            assert np.isnan(curve.mean).all()
        else:
            assert curve.mean.mean() == pytest.approx(row["AP"], abs=1e-12)
            assert curve.at50.mean() == pytest.approx(row["AP50"], abs=1e-12)


def test_the_confusion_table_counts_every_object_and_agrees_with_f1(reference):
    found = quality(*reference)
    table, best, objects = found.confusion, found.best, [curve.objects for curve in found.curves[1:]]
    np.testing.assert_array_equal(table[:-1].sum(axis=1), objects)  # each object in one cell of its row
    right, detected = np.trace(table), table[:, :-1].sum()
    assert right / sum(objects) == pytest.approx(best.recall, abs=1e-12)
    assert right / detected == pytest.approx(best.precision, abs=1e-12)
    assert best.f1 == pytest.approx(2 * right / (detected + sum(objects)), abs=1e-12)
    assert table[-1, -1] == 0 and right > 0


def test_no_other_threshold_has_a_higher_f1(reference):
    annotations, detections = reference
    best, document = quality(annotations, detections).best, ground_truth(annotations)
    entries = json.loads(detections.read_text())

    def f1(threshold):
        judge = judged(document, [e for e in entries if e["score"] >= threshold])
        found = [matched(judge, place) for place in range(80)]
        counted = sum(len(f.scores) + f.objects for f in found)
        return 2 * sum(int(f.right.sum()) for f in found) / counted

    assert f1(best.threshold) == pytest.approx(best.f1, abs=1e-12)
    assert all(f1(best.threshold + shift) < best.f1 for shift in (-0.1, -0.02, 0.02, 0.1))


@pytest.mark.parametrize(
    ("scores", "right", "objects", "expected"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], 2, BestF1(0.8, 1.0, 1.0, 1.0)),
        ([0.1, 0.9, 0.8], [1, 1, 0], 2, BestF1(0.1, 0.8, 2 / 3, 1.0)),
        ([0.5, 0.5], [1, 0], 1, BestF1(0.5, 2 / 3, 0.5, 1.0)),  # one score: both or none
        ([0.9, 0.8], [1, 0], 1, BestF1(0.9, 1.0, 1.0, 1.0)),
        ([0.9], [0], 1, None),
        ([], [], 3, None),
    ],
)
def test_best_f1_by_hand(scores, right, objects, expected):
    found = best_f1(Found(np.asarray(scores, float), np.asarray(right, bool), objects))
    assert (found and vars(found)) == (expected and pytest.approx(vars(expected)))


def scene(tmp_path, detections, crowd=0):
    """Two classes on one image: a cat on the left, a dog on the right."""
    annotations = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [50, 0, 20, 20], "area": 400, "iscrowd": crowd},
        ],
    }
    found = [{"image_id": 1, "category_id": c, "bbox": box, "score": s} for c, box, s in detections]
    for name, content in (("annotations", annotations), ("detections", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "annotations.json", tmp_path / "detections.json"


CAT, DOG = (3, [0, 0, 20, 20], 0.9), (7, [50, 0, 20, 20], 0.9)  # both right


@pytest.mark.parametrize(
    ("detections", "crowd", "expected"),
    [
        # the dog is taken for a cat, and a cat is seen where nothing is
        ([CAT, (3, [51, 0, 20, 20], 0.9), (3, [0, 70, 9, 9], 0.9)], 0, [[1, 0, 0], [1, 0, 0], [1, 0, 0]]),
        # the dog is missed: what overlaps it too little is invented
        ([CAT, (7, [62, 0, 20, 20], 0.9)], 0, [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
        # a second detection of one object is invented; a detection below the threshold is none
        ([CAT, (3, [1, 0, 20, 20], 0.9), (7, [0, 70, 9, 9], 0.1)], 0, [[1, 0, 0], [0, 0, 1], [1, 0, 0]]),
        # a crowd is no object, and what was found in it counts nowhere
        ([CAT, (7, [52, 2, 9, 9], 0.9)], 1, [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_confusions_by_hand(tmp_path, detections, crowd, expected):
    found = quality(*scene(tmp_path, detections, crowd))
    assert found.labels == ["cat", "dog", "background"]
    assert found.confusion.tolist() == expected


def test_without_a_right_detection_there_is_no_threshold(tmp_path):
    found = quality(*scene(tmp_path, []))
    assert found.best is None and found.confusion is None
    assert found.curves[0].at50.tolist() == [0.0] * 101


def test_a_changed_file_is_read_again_and_a_missing_one_named(tmp_path):
    annotations, detections = scene(tmp_path, [CAT])
    assert quality(annotations, detections).best.recall == 0.5
    scene(tmp_path, [CAT, DOG])
    assert quality(annotations, detections).best.recall == 1.0
    with pytest.raises(UserError, match=r"gone\.json"):
        quality(annotations, tmp_path / "gone.json")
