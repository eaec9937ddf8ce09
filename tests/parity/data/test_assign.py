"""ATSS against a plain loop over anchors and boxes."""

import numpy as np
import plain
import pytest

from parity.data.assign import atss, level_points, nearest

SHAPES, STRIDES = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)], [8, 16, 32, 64, 128]


def assign(boxes, size=(128, 160), candidates=9):
    assigned, part = atss(SHAPES, STRIDES, size, np.asarray(boxes, np.float32).reshape(-1, 4), candidates, 8.0)
    return assigned.tolist(), part


def random_boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 110, (count, 2))
    return np.concatenate([low, low + rng.uniform(2, 90, (count, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(128, 160), (96, 64)])
def test_equals_the_plain_loop(seed, size):
    boxes = random_boxes(7, seed)
    assigned, _ = assign(boxes, size)
    assert any(assigned) and assigned == plain.atss(SHAPES, STRIDES, size, boxes, 9, 8.0)


def test_equals_the_plain_loop_where_distances_and_overlaps_tie():
    """Boxes on the grid have candidates equally far on all sides; the second box is the first once more."""
    boxes = [[16, 16, 80, 80], [16, 16, 80, 80], [32, 32, 64, 64], [8, 8, 40, 40], [24, 8, 56, 40]]
    assigned, _ = assign(boxes)
    assert assigned == plain.atss(SHAPES, STRIDES, (128, 160), boxes, 9, 8.0)
    assert 1 in assigned and 2 not in assigned


def test_without_boxes_nothing_is_positive():
    assigned, part = assign([])
    assert not any(assigned) and part.all()


def test_a_box_that_no_anchor_stands_in_gets_none():
    """A box of 3 pixels between the points, and one without area on a point."""
    assigned, _ = assign([[10, 10, 13, 13], [16, 16, 16, 16]])
    assert not any(assigned)


def test_anchors_in_the_padding_take_no_part():
    assigned, part = assign([[40, 40, 150, 120]], size=(96, 64))
    rows = level_points(SHAPES, STRIDES)
    assert (part == ((rows[:, 0] < 64) & (rows[:, 1] < 96))).all()
    assert any(assigned) and not np.asarray(assigned)[~part].any()


def test_points_are_corners_of_cells_row_after_row():
    points = level_points([(2, 3), (1, 1)], [8, 16])
    assert points.tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8], [0, 0]] and points.dtype == np.float32


def test_nearest_is_a_stable_sort():
    distances = np.random.default_rng(0).integers(0, 6, (20, 50)).astype(np.float64)
    for count in (1, 9, 50):
        assert (nearest(distances, count) == np.argsort(distances, axis=1, kind="stable")[:, :count]).all()
    assert nearest(distances, 0).shape == (20, 0)
