"""Intersection over union: known boxes, boxes without area, and boxes that are counted by whole pixels."""

import numpy as np
import pytest

from parity.data.iou import iou, xywh_iou


def test_iou_of_corners():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]], np.float32)
    want = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    assert iou(boxes[:, None], boxes[None]) == pytest.approx(np.array(want, np.float32))
    assert iou(boxes, boxes).tolist() == [1, 1, 1]


def test_iou_of_boxes_without_area_is_zero():
    boxes = np.array([[0, 0, 0, 0], [0, 0, 2, 2]], np.float32)
    assert iou(boxes[:1, None], boxes[None]).tolist() == [[0, 0]]


def test_iou_of_sides():
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [0, 0, 0, 0]])
    assert xywh_iou(boxes, boxes) == pytest.approx(np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]))


def test_a_box_counts_the_pixel_that_it_ends_on():
    """From 0 to 9 and from 5 to 14 are ten pixels each, five of them shared."""
    boxes = np.array([[0.0, 0, 9, 9], [5, 0, 9, 9]])
    assert xywh_iou(boxes, boxes, 1.0) == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1]]))
