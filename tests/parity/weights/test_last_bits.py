"""Other last bits: the smallest change, where it was asked for and nowhere else."""

import numpy as np
import pytest

from parity.weights.last_bits import NEAR_ZERO, nudge

ARRAYS = {
    "weight": np.array([[0.0, 0.5, -0.25], [1e-3, 0.0, 3.0]], np.float32),
    "num_batches_tracked": np.array(0, np.int64),
    "norm.running_var": np.ones(4, np.float32),
}


def changed(kind, *seed):
    return {name: array != ARRAYS[name] for name, array in nudge(ARRAYS, kind, *seed).items()}


@pytest.mark.parametrize(
    ("kind", "zero", "other"), [("none", 0, 0), ("all", 1, 1), ("zeros", 1, 0), ("nonzeros", 0, 1)]
)
def test_what_was_asked_for_is_changed(kind, zero, other):
    moved = changed(kind, 3)
    assert (moved["weight"] == np.where(ARRAYS["weight"] == 0, zero, other)).all()
    assert (moved["norm.running_var"] == other).all() and not moved["num_batches_tracked"]


def test_the_change_is_the_last_bit():
    moved = nudge(ARRAYS, "all", 3)["weight"]
    zero = ARRAYS["weight"] == 0
    bits = moved.view(np.int32).astype(int) - ARRAYS["weight"].view(np.int32)
    assert (np.abs(bits[~zero]) == 1).all() and (np.abs(moved[zero]) == np.float32(NEAR_ZERO)).all()
    assert moved.dtype == np.float32 and 1e-10 < NEAR_ZERO < 1e-8


def test_it_is_a_function_of_name_and_seed():
    big = {"a": np.ones(100, np.float32), "b": np.ones(100, np.float32)}
    first, again, other = nudge(big, "all", 1, 2), nudge(big, "all", 1, 2), nudge(big, "all", 1, 3)
    assert (first["a"] == again["a"]).all() and (first["a"] != other["a"]).any() and (first["a"] != first["b"]).any()
    assert (nudge({"a": big["a"]}, "all", 1, 2)["a"] == first["a"]).all()
