"""Partners of detections in two lists, and what has none."""

import pytest

from parity.compare.agreement import agreement, partners


def entry(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_equal_lists_agree_whatever_their_order():
    first = [entry(1, 1, [0, 0, 10, 10], 0.9), entry(1, 1, [5, 0, 10, 10], 0.8), entry(2, 3, [1, 1, 4, 4], 0.7)]
    found = agreement(first, first[::-1], 2)
    assert (found.matched, found.first_only, found.second_only, found.score, found.box) == (3, 0, 0, 0.0, 0.0)


def test_differences_of_partners_and_what_has_none():
    first = [entry(1, 1, [0, 0, 10, 10], 0.9), entry(1, 1, [50, 50, 5, 5], 0.4)]
    second = [entry(1, 1, [0, 0.5, 10, 10], 0.7), entry(1, 2, [50, 50, 5, 5], 0.4), entry(2, 1, [0, 0, 10, 10], 0.9)]
    found = agreement(first, second, 2)
    assert (found.matched, found.first_only, found.second_only) == (1, 1, 2)
    assert found.score == pytest.approx(0.2) and found.box == 0.5
    assert "1 in torch only, 2 in jittor only" in found.line("torch", "jittor")


def test_nothing_found_is_no_agreement():
    assert "nothing was compared" in agreement([], [], 5).line("torch", "jittor")


def test_pairs_are_chosen_together_not_one_by_one():
    """Greedy pairing by the first list would leave the second box without its only partner."""
    first, second = [[0, 0, 10, 10], [2, 0, 10, 10]], [[1.2, 0, 10, 10], [-3, 0, 10, 10]]
    assert sorted(partners(first, second)) == [(0, 1), (1, 0)]


def test_the_box_difference_is_that_of_a_corner():
    first, second = [entry(1, 1, [10, 10, 20, 20], 0.9)], [entry(1, 1, [10, 12, 20, 21.5], 0.9)]
    assert agreement(first, second, 1).box == 3.5


def test_each_detection_is_used_once():
    twice = [entry(1, 1, [0, 0, 10, 10], 0.9), entry(1, 1, [0, 0, 10, 10], 0.8)]
    found = agreement(twice, twice[:1], 1)
    assert (found.matched, found.first_only) == (1, 1)
