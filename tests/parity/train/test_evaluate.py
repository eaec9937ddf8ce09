import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from parity.data.entries import METRICS
from parity.errors import UserError
from parity.framework import Batch, Detections
from parity.train.evaluate import evaluate, to_coco

FIXTURE = Path(__file__).parents[1] / "fixtures" / "eval_reference.json.gz"
# What the COCO API itself printed for these detections on 100 images of COCO 2014 (annotations: CC BY 4.0).
PUBLISHED = [
    *(0.503647, 0.696973, 0.571667, 0.593252, 0.557991, 0.489363),
    *(0.386813, 0.593680, 0.595353, 0.654764, 0.603130, 0.553744),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """(path of the annotations, detections) of the published evaluation."""
    content = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    path = tmp_path_factory.mktemp("reference") / "annotations.json"
    path.write_text(json.dumps(content["annotations"]))
    return path, content["detections"]


def test_published_values(reference, tmp_path, capsys):
    path, detections = reference
    result = evaluate(path, detections)
    assert list(result["metrics"]) == list(METRICS)
    np.testing.assert_allclose(list(result["metrics"].values()), PUBLISHED, atol=1e-6)
    assert (result["images"], result["detections"]) == (100, len(detections))
    assert capsys.readouterr().out == ""
    (tmp_path / "detections.json").write_text(json.dumps(detections))
    assert evaluate(path, tmp_path / "detections.json") == result
    assert evaluate(path, str(tmp_path / "detections.json")) == result


def test_classes_average_to_the_whole(reference):
    path, detections = reference
    result = evaluate(path, detections)
    for name in ("AP", "AP50"):
        known = [row[name] for row in result["per_class"] if row[name] is not None]
        assert np.mean(known) == pytest.approx(result["metrics"][name], abs=1e-12)
    assert len(result["per_class"]) == 80 and result["per_class"][0]["name"] == "person"
    annotations = json.loads(path.read_text())["annotations"]
    assert sum(row["instances"] for row in result["per_class"]) == sum(1 - a["iscrowd"] for a in annotations)
    assert all(row["AP"] is None for row in result["per_class"] if row["instances"] == 0)


def test_no_detections_at_all(reference):
    result = evaluate(reference[0], [])
    assert result["detections"] == 0 and set(result["metrics"].values()) == {0.0}


def small(tmp_path, **changes):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
        "categories": [{"id": 4, "name": "thing"}, {"id": 9, "name": "other"}],
        "annotations": [{"id": 0, "image_id": 1, "category_id": 4, "bbox": [10, 10, 50, 50]}],
    }
    path = tmp_path / "small.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_annotations_without_area_crowd_or_with_id_zero(tmp_path):
    """pycocotools takes a match with annotation 0 for no match; a right detection must count all the same."""
    found = [{"image_id": 1, "category_id": 4, "bbox": [10, 10, 50, 50], "score": 0.9}]
    result = evaluate(small(tmp_path), found)
    assert result["metrics"]["AP"] == pytest.approx(1) and result["metrics"]["APm"] == pytest.approx(1)
    assert result["metrics"]["APs"] is None and result["metrics"]["APl"] is None
    assert [(r["id"], r["AP"], r["instances"]) for r in result["per_class"]] == [(4, pytest.approx(1), 1), (9, None, 0)]


def test_an_empty_split_has_nothing_to_measure(tmp_path):
    result = evaluate(small(tmp_path, annotations=[]), [])
    assert set(result["metrics"].values()) == {None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 2}, r"detections: \[0\]: image_id 2"),
        ({"category_id": 5}, r"\[0\]: category_id 5"),
        ({"score": "high"}, r"\[0\]: score is 'high'"),
        ({"score": float("nan")}, r"\[0\]: score is nan"),
        ({"bbox": [1, 2, 3]}, r"\[0\]: bbox is"),
    ],
)
def test_detections_that_do_not_fit_are_named(tmp_path, change, message):
    found = {"image_id": 1, "category_id": 4, "bbox": [10, 10, 50, 50], "score": 0.9}
    with pytest.raises(UserError, match=message):
        evaluate(small(tmp_path), [found | change])
    with pytest.raises(UserError, match="holds a dict"):
        evaluate(small(tmp_path), found)


def batch():
    return Batch(
        images=np.zeros((2, 3, 64, 64), np.float32),
        sizes=np.array([[64, 64], [32, 64]]),
        image_ids=np.array([5, 6]),
        original=np.array([[128, 192], [100, 64]]),
    )


def detections(boxes, scores, labels):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def test_detections_go_to_the_frame_of_the_file():
    found = [detections([[1, 2, 11, 22]], [0.5], [1]), detections([[1, 2, 11, 22]], [0.25], [0])]
    assert to_coco(found, batch(), {0: 4, 1: 9}) == [
        {"image_id": 5, "category_id": 9, "bbox": [3, 4, 30, 40], "score": 0.5},
        {"image_id": 6, "category_id": 4, "bbox": [1, 6.25, 10, 62.5], "score": 0.25},
    ]


def test_only_the_best_usable_detections_are_kept():
    nothing = detections([], [], [])
    boxes = [[0, 0, k, k] for k in range(1, 8)]
    boxes[2][0] = np.nan
    scores = [0.1, 0.7, 0.99, 0.3, np.inf, 0.6, 0.6]
    labels = [0, 0, 0, 0, 0, 77, 0]
    rows = to_coco([nothing, detections(boxes, scores, labels)], batch(), {0: 4}, max_detections=4, score_threshold=0.2)
    assert [row["score"] for row in rows] == pytest.approx([0.7, 0.6, 0.3])  # 77 is no category, but had its place
    assert {row["image_id"] for row in rows} == {6}
    json.dumps(rows, allow_nan=False)
