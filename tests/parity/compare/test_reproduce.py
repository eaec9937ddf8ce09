"""A released checkpoint in two frameworks: AP, intervals, and how far detections agree."""

import json

import numpy as np
import pytest

from parity.compare.reproduce import reproduce


def one(image=1, category=1, box=(10.0, 10.0, 20.0, 20.0), score=0.9) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


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
    assert (result["agreement"]["matched"], result["agreement"]["first_only"]) == (7, 1)


def test_low_scores_do_not_count_for_agreement(files):
    found = json.loads((files / "jittor.json").read_text())
    (files / "jittor.json").write_text(json.dumps([*found, one(box=(40.0, 40.0, 9.0, 9.0), score=0.04)]))
    result = reproduce(files / "val.json", {n: files / f"{n}.json" for n in ("torch", "jittor")}, {"AP": 1.0})
    assert result["agreement"]["second_only"] == 0 and result["agreement"]["from_score"] == 0.05


def test_one_framework_alone(files):
    result = reproduce(files / "val.json", {"torch": files / "torch.json"}, {"AP": 1.0})
    assert "difference" not in result and "agreement" not in result
    assert np.isfinite(result["frameworks"]["torch"]["metrics"]["AP50"])
