"""Distributions over distances and their losses against formulas in NumPy."""

import numpy as np
import pytest

from jittor_impl.models import dense
from jittor_impl.runtime import jt

RNG = np.random.default_rng(0)


def number(x):
    return jt.array(np.asarray(x, np.float32))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropy(p, t):
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def test_integral_is_the_expectation_of_each_side():
    logits = RNG.normal(size=(2, 5, 4 * 8)).astype(np.float32)
    want = (softmax(logits.reshape(2, 5, 4, 8)) * np.arange(8)).sum(-1)
    assert np.allclose(dense.Integral(7)(number(logits)).numpy(), want, atol=1e-5)


def test_distances_and_boxes_are_inverse_inside_the_limit():
    points, distances = RNG.uniform(0, 9, (6, 2)), RNG.uniform(0, 5, (6, 4))
    boxes = dense.distances_to_boxes(number(points), number(distances)).numpy()
    assert np.allclose(boxes[:, 0], points[:, 0] - distances[:, 0]) and np.allclose(
        boxes[:, 3], points[:, 1] + distances[:, 3]
    )
    assert np.allclose(dense.boxes_to_distances(number(points), number(boxes), 7.0).numpy(), distances, atol=1e-5)
    outside = dense.boxes_to_distances(number([[10.0, 10.0]]), number([[11.0, 0.0, 30.0, 12.0]]), 6.9)
    assert outside.numpy()[0].tolist() == pytest.approx([0.0, 6.9, 6.9, 2.0])


def test_boxes_are_clipped_to_height_and_width():
    clipped = dense.clip_boxes(number([[-1.0, -2.0, 30.0, 40.0]]), jt.array([10, 20]))
    assert clipped.numpy().tolist() == [[0.0, 0.0, 20.0, 10.0]]


def test_distribution_focal_loss_interpolates_between_two_bins():
    logits, target = RNG.normal(size=(5, 8)), np.array([0.0, 1.0, 2.25, 6.9, 3.5])
    log = np.log(softmax(logits))
    low = np.floor(target).astype(int)
    rows = np.arange(5)
    want = -((low + 1 - target) * log[rows, low] + (target - low) * log[rows, low + 1])
    assert np.allclose(dense.distribution_focal_loss(number(logits), number(target)).numpy(), want, atol=1e-6)


@pytest.mark.parametrize("beta", [2.0, 1.5])
def test_quality_focal_losses_are_the_formula_and_one_loss(beta):
    logits = RNG.normal(size=(6, 3))
    quality = np.where(RNG.random((6, 3)) < 0.3, RNG.random((6, 3)), 0)
    p = 1 / (1 + np.exp(-logits))
    want = np.abs(quality - p) ** beta * entropy(p, quality)
    x = number(logits)
    got = dense.quality_focal_loss_with_logits(x, number(quality), beta)
    assert np.allclose(got.numpy(), want, atol=1e-6)
    other = dense.quality_focal_loss(x.sigmoid(), number(quality), beta)
    assert np.allclose(other.numpy(), want, atol=1e-6)
    gradient = jt.grad(got.sum(), x).numpy()
    assert np.allclose(gradient, jt.grad(other.sum(), x).numpy(), atol=1e-5)
    steps = 1e-6 * np.eye(18).reshape(18, 6, 3)
    sums = [np.abs(quality - q) ** beta * entropy(q, quality) for q in 1 / (1 + np.exp(-(logits + steps)))]
    assert np.allclose(gradient.ravel(), (np.stack(sums).sum((1, 2)) - want.sum()) / 1e-6, atol=1e-4)


def test_quality_focal_loss_is_finite_where_a_probability_is_exact():
    p = number([[0.0, 1.0, 0.0]])
    loss = dense.quality_focal_loss(p, number([[0.5, 0.0, 0.0]]), 2.0)
    assert loss.numpy()[0].tolist() == pytest.approx([12.5, 100.0, 0.0])
    assert np.abs(jt.grad(loss.sum(), p).numpy()).max() < 1e14  # finite: Jittor's kernels cannot see infinity
