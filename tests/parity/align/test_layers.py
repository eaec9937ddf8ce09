"""Recording of modules: names at any depth, a number for each call, and what can be fed; tensors are arrays here."""

from typing import NamedTuple

import numpy as np
import pytest

from parity.align.layers import Recorder, fed, tensors_in


class Two(NamedTuple):
    left: np.ndarray
    right: list


def same(array, tensor):
    return array.astype(tensor.dtype)


def recorder(kept, **options):
    return Recorder(np.ndarray, kept.__setitem__, same, **options)


def test_names_at_any_depth():
    value = Two(np.zeros(1), [{"a": np.ones(2)}, 5, None])
    assert [name for name, _ in tensors_in("m", value, np.ndarray)] == ["m[0]", "m[1][0][a]"]


def test_a_fed_value_keeps_its_form_its_types_and_what_is_no_tensor():
    value = Two(np.zeros(1, np.float32), [{"a": np.zeros(2)}, 5])
    feed = {"m[0]": np.array([7.0]), "m[1][0][a]": np.array([1.0, 2.0])}
    found = fed("m", value, np.ndarray, feed, same)
    assert isinstance(found, Two)
    assert found.left.dtype == np.float32
    assert found.left == [7]
    assert found.right[0]["a"].tolist() == [1, 2]
    assert found.right[1] == 5


@pytest.mark.parametrize("feed", [{}, {"m": np.zeros(3)}])
def test_an_array_that_is_missing_or_of_another_shape_is_no_feed(feed):
    with pytest.raises(LookupError, match="m"):
        fed("m", np.zeros(2), np.ndarray, feed, same)


def test_calls_are_numbered_and_inputs_recorded_when_asked_for():
    kept = {}
    record = recorder(kept, inputs=True)
    for value in (1.0, 2.0):
        record("layer", None, (np.array(value), "option"), [np.array(-value)])
    assert {name: float(array) for name, array in kept.items()} == {
        "layer[0]": -1,
        "layer@in0": 1,
        "layer#1[0]": -2,
        "layer#1@in0": 2,
    }


def test_a_module_is_called_again_with_what_is_fed_and_its_inside_is_not_recorded():
    kept = {}
    record = recorder(kept, feed={"outer@in0": np.array([3.0])})

    def outer(x):
        record("inner", np.negative, (x,), -x)
        return x * 2

    record("outer", outer, (np.array([1.0]),), np.array([2.0]))
    assert {name: array.tolist() for name, array in kept.items()} == {"outer": [2], "outer@fed": [6]}
    record("inner", np.negative, (np.array([1.0]),), np.array([-1.0]))  # nothing is fed to it, and it is recorded again
    assert [name for name in kept if name.startswith("inner")] == ["inner"]
