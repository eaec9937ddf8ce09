"""Class-wise suppression against a plain loop."""

import numpy as np
import plain
import pytest
import torch

from torch_impl.nms import BLOCK, class_nms


def crowd(count: int, classes: int, grid: int, seed: int = 0):
    """Boxes with corners on a coarse grid and scores of few values, so that ties and equal boxes abound."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, grid, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 5, (count, 2))], 1).astype(np.float32)
    return boxes, rng.integers(0, 20, count).astype(np.float32) / 20, rng.integers(0, classes, count)


def suppress(boxes, scores, labels, iou, limit):
    return class_nms(*(torch.from_numpy(x) for x in (boxes, scores, labels)), iou, limit).tolist()


@pytest.mark.parametrize(("count", "classes", "limit"), [(1, 1, 10), (60, 1, 100), (300, 4, 100), (300, 4, 17)])
@pytest.mark.parametrize("iou", [0.3, 0.6])
def test_equals_the_plain_loop(count, classes, limit, iou):
    boxes, scores, labels = crowd(count, classes, grid=12)
    assert suppress(boxes, scores, labels, iou, limit) == plain.class_nms(boxes, scores, labels, iou, limit)


def test_more_boxes_than_are_compared_at_once():
    boxes, scores, labels = crowd(2 * BLOCK + 100, 2, grid=40)
    got = suppress(boxes, scores, labels, 0.4, 700)
    assert len(got) > BLOCK / 2 and got == plain.class_nms(boxes, scores, labels, 0.4, 700)


def test_classes_do_not_see_each_other_however_large_the_coordinates():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [1e6, 1e6, 1e6 + 10, 1e6 + 10]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.5, 0.9], np.float32), np.array([0, 1, 0]), 0.5, 10) == [2, 0, 1]


def test_equal_scores_keep_the_lower_index_and_chains_are_greedy():
    """The first covers the second, the second the third: the third stays."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress(boxes, np.full(3, 0.5, np.float32), np.zeros(3, np.int64), 0.4, 10) == [0, 2]


def test_no_boxes_and_boxes_without_area():
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    assert suppress(*none, 0.5, 10) == []
    points = np.tile(np.array([[3, 3, 3, 3]], np.float32), (2, 1))
    assert suppress(points, np.array([0.1, 0.2], np.float32), np.zeros(2, np.int64), 0.5, 10) == [1, 0]
