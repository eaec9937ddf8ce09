"""Pairs of queries and boxes from given costs, and targets as the losses read them."""

import numpy as np
import pytest

from parity.data.pairing import known_matches, match_arrays, match_costs, pairs
from parity.data.targets import batch_targets, normalised
from parity.errors import UserError
from parity.framework import Batch


def test_costs_are_paired_image_by_image():
    cost = np.array([[3.0, 1.0], [9.0, 9.0], [1.0, 3.0]], np.float32)
    [(query, box), (nothing, none)] = match_costs([cost, np.zeros((3, 0), np.float32)])
    assert query.tolist() == [0, 2]
    assert box.tolist() == [1, 0]
    assert len(nothing) == len(none) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_costs_that_are_not_finite_say_that_training_diverged(value):
    with pytest.raises(UserError, match="diverged"):
        match_costs([np.zeros((2, 1)), np.full((2, 1), value)])


def test_pairs_of_a_batch_stand_one_after_the_other():
    boxes = [np.zeros((0, 4), np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)]
    nothing = np.zeros(0, np.int64)
    matches = [(nothing, nothing), (np.array([3, 5]), np.array([1, 0]))]
    found = pairs(matches, boxes, [nothing, np.array([7, 8])])
    assert [x.tolist() for x in found] == [[1, 1], [3, 5], [[4, 5, 6, 7], [0, 1, 2, 3]], [8, 7]]
    assert {x.dtype for x in (found.image, found.query, found.classes)} == {np.dtype(np.int64)}
    assert match_arrays({"main": matches})["match/main/img1/tgt"].tolist() == [1, 0]


def test_a_recoverable_copy_belongs_to_its_box_in_every_group():
    [(place, box)] = known_matches([np.array([0, 1, 4, 5])], [np.array([2, 0])], 2)
    assert place.tolist() == [0, 1, 4, 5]
    assert box.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_targets_are_normalised_by_the_valid_size(dtype):
    boxes, counts = np.array([[10, 20, 30, 60]], np.float32), np.array([0, 1])
    batch = Batch(np.zeros((2, 3, 64, 64)), np.array([[64, 64], [80, 40]]), boxes, np.array([2]), counts)
    targets = batch_targets(batch, dtype)
    assert [target.size for target in targets] == [(64, 64), (80, 40)]
    found, labels = normalised(targets)
    assert found[1].dtype == dtype
    assert np.array_equal(found[1], [[0.5, 0.5, 0.5, 0.5]])
    assert [label.tolist() for label in labels] == [[], [2]]
