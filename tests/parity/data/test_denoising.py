"""Noised ground truth: its layout, its noise, its mask and the order of its draws."""

import numpy as np
import pytest

from parity.data.denoising import noised
from parity.data.draws import Draws


class FixedDraws:
    """Every uniform draw is `u`, every integer `low + i`."""

    def __init__(self, u, i):
        self.u, self.i = u, i

    def uniform(self, shape):
        return np.full(shape, self.u, np.float32)

    def integers(self, low, high, shape):
        return np.full(shape, low + self.i, np.int64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_and_noise(dtype):
    boxes = [np.array([[0.5, 0.5, 0.2, 0.4], [0.3, 0.3, 0.1, 0.1]], dtype), np.full((1, 4), 0.4, dtype)]
    noise = noised(boxes, [np.array([0, 1]), np.array([1])], 3, 5, 4, 0.5, 1.0, FixedDraws(0.1, 1))
    assert noise.groups == 2
    # u = 0.1 < 0.25 changes every real label to 0 + 1, in both halves; what pads stays the number of classes
    assert noise.labels.tolist() == [[1] * 8, [1, 3] * 4]
    assert [p.tolist() for p in noise.positives] == [[0, 1, 4, 5], [0, 4]]
    # sign +1: both corners move by 0.1 (positive) or 1.1 (negative) times half the size
    assert noise.boxes.dtype == dtype
    assert np.allclose(noise.boxes[0, 0], [0.51, 0.52, 0.2, 0.4], atol=1e-6)
    assert np.allclose(noise.boxes[0, 2], [0.61, 0.72, 0.2, 0.4], atol=1e-6)
    assert np.array_equal(noise.boxes[0, 2], noise.boxes[0, 6])
    assert not noise.boxes[1, 1].any()  # padding: an empty box
    mask = noise.mask
    assert mask.shape == (13, 13)
    assert mask[8:, :8].all()
    assert not mask[8:, 8:].any()
    assert not mask[:8, 8:].any()
    assert not mask[:4, :4].any()
    assert mask[:4, 4:8].all()
    assert mask[4:8, :4].all()


def test_boxes_are_clipped_to_the_image():
    box = [np.array([[0.85, 0.5, 0.2, 0.4]], np.float32)]
    noise = noised(box, [np.array([0])], 3, 5, 1, 0.0, 1.0, FixedDraws(0.5, 1))
    # the recoverable copy moves by 0.05 and 0.1, the other by 0.15 and 0.3, over the right and the lower border
    assert np.allclose(noise.boxes[0], [[0.9, 0.6, 0.2, 0.4], [0.95, 0.8, 0.1, 0.4]], atol=2e-5)


def test_draws_come_in_the_official_order():
    asked = []

    class Recorder(FixedDraws):
        def uniform(self, shape):
            asked.append(("uniform", shape))
            return super().uniform(shape)

        def integers(self, low, high, shape):
            asked.append((low, high, shape))
            return super().integers(low, high, shape)

    boxes = [np.full((3, 4), 0.4, np.float32)]
    noised(boxes, [np.array([0, 1, 2])], 7, 5, 2, 0.5, 1.0, Recorder(0.5, 0))
    assert asked == [("uniform", (1, 6)), (0, 7, (1, 6)), (0, 2, (1, 6, 4)), ("uniform", (1, 6, 4))]


def test_nothing_is_noised_without_boxes_or_denoising_queries():
    nothing, one = [np.zeros((0, 4), np.float32)], [np.full((1, 4), 0.4, np.float32)]
    assert noised(nothing, [np.zeros(0, np.int64)], 3, 5, 4, 0.5, 1.0, Draws(0)) is None
    assert noised(one, [np.array([0])], 3, 5, 0, 0.5, 1.0, Draws(0)) is None
