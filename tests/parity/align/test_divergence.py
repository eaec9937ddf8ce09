"""A module that picks queries, fed with the first framework's input: ties may come in another order than by itself."""

import numpy as np
import pytest

from parity.align.divergence import check_modules
from parity.align.queries import SCORES, align

SCORE = np.array([[[3.0], [2.0], [2.0], [1.0]]], np.float32)  # positions 1 and 2 tie
PICKED = np.array([[0, 1, 2]])
CONTENT = np.array([[[0.0], [10.0], [20.0]]], np.float32)


def arrays(places, content, fed_places, fed_content):
    return {
        SCORES: SCORE,
        "decoder[selection][0]": places,
        "decoder[selection][1]": content,
        "decoder@fed[selection][0]": fed_places,
        "decoder@fed[selection][1]": fed_content,
    }


@pytest.mark.parametrize(
    ("fed_places", "fed_content", "blamed"),
    [
        ([[0, 2, 1]], [[[0.0], [20.0], [10.0]]], False),  # a tie in another order
        ([[0, 1, 2]], [[[0.0], [10.0], [20.0]]], False),
        ([[0, 2, 1]], [[[0.0], [20.0], [11.0]]], True),  # in another order and wrong
        ([[1, 0, 2]], [[[10.0], [0.0], [20.0]]], True),  # another order for no tie
    ],
)
def test_what_was_picked_when_fed_is_compared_in_its_own_order(fed_places, fed_content, blamed):
    first = {SCORES: SCORE, "decoder[selection][0]": PICKED, "decoder[selection][1]": CONTENT}
    second = arrays(PICKED, CONTENT, np.array(fed_places), np.array(fed_content, np.float32))
    queries = align(PICKED, PICKED, SCORE, SCORE, 2e-5)
    checks = {check.path: check for check in check_modules(first, second, queries)}
    assert checks["decoder"].to_blame is blamed
