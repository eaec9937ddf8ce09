"""Shared layers against formulas in NumPy, and dropout against its draws."""

import numpy as np
import pytest

from jittor_impl.layers import AvgPool2d, BatchNorm2d, Dropout, FrozenBatchNorm2d, MultiheadAttention, resize_nearest
from jittor_impl.runtime import jt
from jittor_impl.state import describe


class StoredUniform:
    def __init__(self, values):
        self.values = values

    def uniform(self, shape):
        return self.values.reshape(shape)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_the_formula(masked):
    attention = MultiheadAttention(16, 4)
    q, k, v = numbers(2, 5, 16), numbers(2, 7, 16, seed=1), numbers(2, 7, 16, seed=2)
    mask = np.random.default_rng(3).random((5, 7)) < 0.3 if masked else None
    weight, output = attention.in_proj_weight.numpy().astype(np.float64), attention.out_proj
    parts = [x.astype(np.float64) @ w.T for x, w in zip((q, k, v), np.split(weight, 3), strict=True)]
    q4, k4, v4 = (x.reshape(2, -1, 4, 4).transpose(0, 2, 1, 3) for x in parts)
    scores = q4 @ k4.swapaxes(-1, -2) / 2
    if masked:
        scores = np.where(mask, -np.inf, scores)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    want = (p @ v4).transpose(0, 2, 1, 3).reshape(2, 5, 16) @ output.weight.numpy().T.astype(np.float64)
    got = attention(jt.array(q), jt.array(k), jt.array(v), jt.array(mask) if masked else None)[0]
    assert np.allclose(got.numpy(), want, atol=1e-5)


def test_batch_norm_counts_and_averages_as_pytorch():
    norm, x = BatchNorm2d(3), numbers(2, 3, 4, 5)
    norm(jt.array(x))
    assert np.allclose(norm.running_mean.numpy(), 0.1 * x.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), atol=1e-6)
    assert norm.num_batches_tracked == 1
    norm.is_train = False
    want = (x - norm.running_mean.numpy()[:, None, None]) / np.sqrt(norm.running_var.numpy() + 1e-5)[:, None, None]
    assert np.allclose(norm(jt.array(x)).numpy(), want, atol=1e-5)
    assert norm.num_batches_tracked == 1


def test_frozen_norm_has_buffers_only_and_one_formula_in_both_modes():
    norm, x = FrozenBatchNorm2d(3), numbers(2, 3, 4, 5)
    for seed, key in enumerate(norm.buffers):
        setattr(norm, key, jt.array(numbers(3, seed=seed) + 0.5).stop_grad())
    w, b, m, v = (getattr(norm, key).numpy()[:, None, None] for key in norm.buffers)
    assert np.allclose(norm(jt.array(x)).numpy(), (x - m) / np.sqrt(v + 1e-5) * w + b, atol=1e-5)
    assert [(t.name, t.kind) for t in describe(norm)] == [(key, "buffer") for key in norm.buffers]


def test_dropout_keeps_the_mean_and_drops_what_is_drawn_below_p():
    drop, x = Dropout(0.25), jt.array([3.0, 6.0, 9.0, 12.0])
    drop.draws = StoredUniform(np.array([0.1, 0.25, 0.9, 0.2], np.float32))
    assert drop(x).numpy().tolist() == pytest.approx([0.0, 8.0, 12.0, 0.0])
    drop.is_train = False
    assert drop(x).numpy().tolist() == [3.0, 6.0, 9.0, 12.0]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 2), (3, 4), (5, 7)])
def test_pooling_averages_what_is_there(size):
    x, (h, w) = numbers(2, 3, *size), size
    got = AvgPool2d()(jt.array(x)).numpy()
    assert got.shape == (2, 3, -(-h // 2), -(-w // 2))
    for i, j in np.ndindex(*got.shape[2:]):
        assert np.allclose(got[:, :, i, j], x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_nearest_resizing_takes_the_floor(size):
    x = numbers(2, 3, 3, 4)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, (3, 4), strict=True))
    assert np.array_equal(resize_nearest(jt.array(x), size).numpy(), x[:, :, rows][:, :, :, columns])
