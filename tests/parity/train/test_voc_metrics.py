"""Hand-computed cases of VOC's AP; boxes are xywh, one class unless said."""

import numpy as np
import pytest

from parity.files import write_json
from parity.train.evaluate import evaluate
from parity.train.voc_metrics import curve, evaluate_voc, voc07_ap, voc10_ap

A, B, C = [0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10]


def document(objects, classes=1):
    """`objects` are (image, class, box, difficult)."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 60} for i in (1, 2)],
        "categories": [{"id": c + 1, "name": f"c{c + 1}"} for c in range(classes)],
        "annotations": [
            {"id": k + 1, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, "area": 100}
            | ({"difficult": 1} if difficult else {})
            for k, (image, category, box, difficult) in enumerate(objects)
        ],
    }


def results(*found):
    """`found` are (score, image, box), or with the class as a fourth."""
    return [
        {"score": score, "image_id": image, "bbox": box, "category_id": category[0] if category else 1}
        for score, image, box, *category in found
    ]


def aps(objects, *found, **options):
    metrics = evaluate_voc(document(objects), results(*found), one_based=options.get("one_based", True))["metrics"]
    return metrics["AP50_voc07"], metrics["AP50_voc10"]


def test_two_found_one_missed_one_wrong():
    """Three objects; right (0.9), wrong (0.8), right (0.7): precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.

    11 points: 0..0.3 reach precision 1 (4 of them), 0.4..0.6 reach 2/3 (3), the rest 0: (4 + 2) / 11.
    Area: 1/3 * 1 + 1/3 * 2/3 = 5/9.
    """
    found = aps([(1, 1, A, 0), (1, 1, B, 0), (2, 1, A, 0)], (0.9, 1, A), (0.8, 1, C), (0.7, 2, A))
    np.testing.assert_allclose(found, (6 / 11, 5 / 9))


def test_difficult_objects_are_neither_found_nor_missed():
    """The difficult object's detection counts for nothing, and so does the object: one of one found."""
    assert aps([(1, 1, A, 0), (1, 1, B, 1)], (0.9, 1, B), (0.8, 1, B), (0.7, 1, A)) == (1.0, 1.0)
    assert aps([(1, 1, A, 0), (1, 1, B, 1)], (0.9, 1, A)) == (1.0, 1.0)


def test_a_second_detection_of_an_object_is_wrong():
    """Right, wrong, right: recall 1/2, 1/2, 1; precision 1, 1/2, 2/3. 11 points: 6 at 1, 5 at 2/3."""
    found = aps([(1, 1, A, 0), (1, 1, B, 0)], (0.9, 1, A), (0.8, 1, A), (0.7, 1, B))
    np.testing.assert_allclose(found, ((6 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3))


def test_a_detection_belongs_to_its_best_object_even_if_that_one_is_taken():
    """The second detection overlaps A by 8/10 and its neighbour [3, 0] by less: it is a double of A, not a find."""
    neighbour = [4, 0, 10, 10]
    recall, precision, objects = curve(
        {1: [(A, False), (neighbour, False)]}, [(0.9, 1, A), (0.8, 1, [1, 0, 10, 10])], 0
    )
    assert objects == 2 and recall.tolist() == [0.5, 0.5] and precision.tolist() == [1.0, 0.5]


def test_an_overlap_of_exactly_one_half_is_enough():
    assert aps([(1, 1, A, 0)], (0.9, 1, [0, 0, 10, 5])) == (1.0, 1.0)
    assert aps([(1, 1, A, 0)], (0.9, 1, [0, 0, 10, 4.9])) == (0.0, 0.0)


def test_pixels_count_inclusively_where_corners_stand_as_they_are():
    """Object 0..9, detection 0..4: 5/10 pixels inclusively, 4/9 of the widths."""
    objects, found = [(1, 1, [0, 0, 9, 9], 0)], (0.9, 1, [0, 0, 9, 4])
    assert aps(objects, found, one_based=False) == (1.0, 1.0)
    assert aps(objects, found, one_based=True) == (0.0, 0.0)


def test_equal_scores_keep_their_order():
    first = aps([(1, 1, A, 0)], (0.5, 1, A), (0.5, 1, C))
    second = aps([(1, 1, A, 0)], (0.5, 1, C), (0.5, 1, A))
    assert first == (1.0, 1.0) and second == (0.5, 0.5)


def test_nothing_found_and_nothing_to_find():
    assert aps([(1, 1, A, 0)]) == (0.0, 0.0)
    assert aps([]) == (None, None) and aps([(1, 1, A, 1)], (0.9, 1, A)) == (None, None)
    two = evaluate_voc(document([(1, 1, A, 0)], classes=2), results((0.9, 1, A), (0.9, 1, A, 2)), True)
    assert two["metrics"] == {"AP50_voc07": 1.0, "AP50_voc10": 1.0}
    assert [row["AP50_voc10"] for row in two["per_class"]] == [1.0, None]
    assert [row["objects"] for row in two["per_class"]] == [1, 0]


def test_the_curves_by_themselves():
    recall, precision = np.array([0.25, 0.5, 0.5, 0.75]), np.array([1.0, 1.0, 0.6, 0.75])
    assert voc10_ap(recall, precision) == pytest.approx(0.5 + 0.25 * 0.75)
    assert voc07_ap(recall, precision) == pytest.approx((6 * 1.0 + 2 * 0.75) / 11)


def test_coco_json_of_a_voc_dataset_has_both(tmp_path):
    path, found = tmp_path / "val.json", results((0.9, 1, A), (0.8, 1, B))
    plain = document([(1, 1, A, 0), (1, 1, B, 1)])
    write_json(path, plain)
    assert "voc" not in evaluate(path, found)
    write_json(path, plain | {"info": {"format": "voc", "one_based": True}})
    report = evaluate(path, found)
    assert report["voc"]["metrics"] == {"AP50_voc07": 1.0, "AP50_voc10": 1.0}
    assert report["voc"]["per_class"][0]["objects"] == 1 and report["per_class"][0]["instances"] == 2
