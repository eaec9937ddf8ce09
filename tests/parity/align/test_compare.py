import numpy as np
import pytest

from parity.align.compare import compare, zero_gradients
from parity.align.tolerances import TOLERANCES, Tolerance

LIMIT = Tolerance(1e-3, "test", peak=1e-2)


def test_numbers_of_a_known_difference():
    first = np.float32([[3, 0], [0, 4]])
    second = np.float32([[3, 0.5], [0, 4]])
    found = compare("x", first, second, LIMIT)
    assert (found.max_abs, found.worst, found.first, found.second) == (0.5, [0, 1], 0.0, 0.5)
    assert found.relative_l2 == pytest.approx(0.1)
    assert found.peak == pytest.approx(0.125)
    assert found.within == 0.75
    assert found.cosine == pytest.approx(25 / (5 * np.sqrt(25.25)))
    assert found.ratio == pytest.approx(100) and not found.ok
    assert "x[0, 1]: 0 and 0.5" in str(found)


def test_peak_catches_one_wrong_element_among_many():
    first = np.ones(10**6, np.float32)
    second = first.copy()
    second[77] = 1.05
    found = compare("x", first, second, LIMIT)
    assert found.relative_l2 < LIMIT.limit and not found.ok
    assert found.worst == [77]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_on_one_side_fails(value):
    second = np.float32([1, value, 3])
    found = compare("x", np.float32([1, 2, 3]), second, LIMIT)
    assert not found.ok and found.worst == [1]
    assert all(not isinstance(v, float) or np.isfinite(v) for v in found.record().values())


def test_equal_infinities_are_equal_and_nan_never_is():
    array = np.float32([np.inf, -np.inf, 1])
    assert compare("x", array, array, LIMIT).ok
    nan = np.float32([np.nan, 1])
    assert not compare("x", nan, nan, LIMIT).ok


def test_shapes_empty_arrays_and_nothing_beside_something():
    assert "shape [2] and [3]" in compare("x", np.zeros(2), np.zeros(3), LIMIT).problem
    assert compare("x", np.zeros((0, 4)), np.zeros((0, 4)), LIMIT).ok
    assert compare("x", np.zeros(2), np.zeros(2), LIMIT).ok
    assert not compare("x", np.zeros(2), np.float64([0, 1e-30]), LIMIT).ok


def test_exact_means_exact():
    first = np.float32([1, 2])
    assert compare("x", first, first.copy(), TOLERANCES["batches"]).ok
    assert not compare("x", first, np.nextafter(first, np.float32(9)), TOLERANCES["batches"]).ok


def test_gradients_of_zero_are_recognised_in_both_and_told_in_one():
    big = np.float32([1.0, 0])
    first = {"w": big, "bias": np.float32([1e-8]), "broken": np.float32([1e-9]), "edge": np.float32([0.9e-6])}
    second = {"w": big, "bias": np.float32([-3e-8]), "broken": np.float32([0.1]), "edge": np.float32([1.1e-6])}
    zero, one = zero_gradients(first, second, 1e-6)
    assert zero == {"bias"}
    assert one == ["broken"]


def test_every_tolerance_gives_its_reason():
    assert all(len(tolerance.reason) > 20 for tolerance in TOLERANCES.values())
