"""Which steps of the training both frameworks take from the same weights."""

import pytest

from parity.align.trajectory import anchor_steps


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(100, [2, 3, 4, 6, 9, 14, 22, 37, 60, 100]), (5, [2, 3, 4, 5]), (2, [2]), (1, [1])],
)
def test_the_untrained_weights_are_left_out_and_the_last_step_is_there(steps, expected):
    assert anchor_steps(steps) == expected
