"""A released checkpoint in two frameworks: AP, intervals, and how far detections agree."""

import json

import numpy as np
import pytest

from parity.compare.reproduce import agreement, reproduce


def one(image=1, category=1, box=(10.0, 10.0, 20.0, 20.0), score=0.9) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def test_equal_detections_agree_exactly():
    found = [one(), one(image=2), one(category=3, score=0.3)]
    assert agreement(found, found[::-1]) == {"from_score": 0.05, "pairs": 3, "alone": 0, "score": 0.0, "box": 0.0}


def test_differences_are_the_largest_of_all_pairs():
    first = [one(), one(image=2)]
    second = [one(score=0.85), one(image=2, box=(10.0, 12.0, 20.0, 21.5))]
    result = agreement(first, second)
    assert result["pairs"] == 2 and result["alone"] == 0
    assert result["score"] == pytest.approx(0.05) and result["box"] == pytest.approx(3.5)


def test_what_has_no_partner_is_counted_on_both_sides():
    first = [one(), one(image=3), one(box=(100.0, 100.0, 5.0, 5.0), score=0.5)]
    second = [one(), one(category=2), one(image=4), one(box=(300.0, 300.0, 9.0, 9.0), score=0.04)]
    result = agreement(first, second)  # the last one is below the score from which detections count
    assert result["pairs"] == 1 and result["alone"] == 4


def test_each_detection_is_used_once():
    twice = [one(), one(score=0.8)]
    result = agreement(twice, [one()])
    assert (result["pairs"], result["alone"]) == (1, 1)


@pytest.fixture
def files(tmp_path):
    """Eight images of one object each; the second framework misses the object of one of them."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(1, 9)]
    box = [10.0, 10.0, 20.0, 20.0]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 400, "iscrowd": 0} for i in range(1, 9)]
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "box"}]}
    (tmp_path / "val.json").write_text(json.dumps(document))
    (tmp_path / "torch.json").write_text(json.dumps([one(image=i) for i in range(1, 9)]))
    (tmp_path / "jittor.json").write_text(json.dumps([one(image=i) for i in range(1, 8)]))
    return tmp_path


def test_the_result_of_two_frameworks(files):
    published = {"AP": 99.0, "AP50": None}
    detections = {name: files / f"{name}.json" for name in ("torch", "jittor")}
    result = reproduce(files / "val.json", detections, published)
    assert result["images"] == 8 and result["published"] == published
    assert result["frameworks"]["torch"]["metrics"]["AP"] == pytest.approx(100)
    assert result["frameworks"]["torch"]["AP_interval"] == pytest.approx([100, 100])
    second = result["frameworks"]["jittor"]
    assert second["metrics"]["AP"] == pytest.approx(100 * 88 / 101)  # 88 of the 101 recalls are reached
    low, high = second["AP_interval"]
    assert low < second["metrics"]["AP"] <= high <= 100 + 1e-9 and second["samples"] == 1000
    assert result["difference"]["AP"] == pytest.approx(-100 * 13 / 101)
    assert result["difference"]["of"] == ["jittor", "torch"] and not result["difference"]["identical"]
    assert (result["agreement"]["pairs"], result["agreement"]["alone"]) == (7, 1)


def test_one_framework_alone(files):
    result = reproduce(files / "val.json", {"torch": files / "torch.json"}, {"AP": 1.0})
    assert "difference" not in result and "agreement" not in result
    assert np.isfinite(result["frameworks"]["torch"]["metrics"]["AP50"])
