"""The change of last bits by which the ladder learns how far rounding drifts."""

import numpy as np

from parity.align.steps import last_bits


def test_last_bits_depend_on_names_and_not_on_their_order():
    """A file of weights is read in another order by every process; two ladders of one run have the same limits."""
    state = {name: np.random.default_rng(i).standard_normal(50).astype(np.float32) for i, name in enumerate("abc")}
    state["count"] = np.array(3)
    moved, again = last_bits(1)(state), last_bits(1)(dict(reversed(state.items())))
    for name in "abc":
        np.testing.assert_array_equal(moved[name], again[name])
        assert (moved[name] != state[name]).all() and np.allclose(moved[name], state[name], rtol=2e-7, atol=0)
    assert moved["count"] == 3 and not np.array_equal(moved["a"], last_bits(2)(state)["a"])
