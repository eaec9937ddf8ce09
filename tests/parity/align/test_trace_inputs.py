import numpy as np
import pytest

from parity.align.trace import read_inputs
from parity.data.draws import Draws, StoredDraws
from parity.errors import UserError

GOOD = {
    "images": np.zeros((2, 3, 8, 8), np.float32),
    "sizes": np.array([[8, 8], [6, 8]]),
    "boxes": np.array([[0, 0, 4, 4]], np.float32),
    "labels": np.array([1]),
    "counts": np.array([0, 1]),
}


def written(tmp_path, **changes):
    arrays = {key: value for key, value in (GOOD | changes).items() if value is not None}
    np.savez(tmp_path / "in.npz", **arrays)
    return tmp_path / "in.npz"


def test_targets_are_split_by_image(tmp_path):
    batch, draws = read_inputs(written(tmp_path, **{"draws/1": np.ones(2), "draws/0": np.zeros(3)}), True, 2)
    assert [len(boxes) for boxes, _ in batch.targets()] == [0, 1] and [len(d) for d in draws] == [3, 2]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": None}, "lacks 'images'"),
        ({"images": np.zeros((2, 1, 8, 8), np.float32)}, r"images is float32 \[2, 1, 8, 8\], expected"),
        ({"sizes": np.array([[8, 8]])}, r"sizes is int64 \[1, 2\], expected int64 \[2, 2\]"),
        ({"sizes": np.array([[8, 8], [9, 8]])}, "sizes must lie between 1 and"),
        ({"labels": np.array([2])}, r"labels must be 0\.\.1, found 2\.\.2"),
        ({"counts": np.array([1, 1])}, r"boxes is float32 \[1, 4\], expected float32 \[2, 4\]"),
    ],
)
def test_a_wrong_array_is_named(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read_inputs(written(tmp_path, **changes), True, 2)


def test_objects_in_the_archive_are_not_loaded(tmp_path):
    with pytest.raises(UserError, match="cannot be read as npz"):
        read_inputs(written(tmp_path, images=np.array([{"a": 1}], dtype=object)), True, 2)


def test_stored_draws_come_in_call_order_and_must_fit():
    draws = StoredDraws([np.zeros((2, 3)), np.ones(4)])
    assert draws.uniform((2, 3)).shape == (2, 3)
    with pytest.raises(UserError, match=r"draws/1: has shape \(4,\), the model needs \(5,\)"):
        draws.integers(0, 2, (5,))
    assert draws.integers(0, 2, (4,)).dtype == np.int64
    with pytest.raises(UserError, match="draws/2: missing"):
        draws.uniform((1,))


def test_draws_depend_on_their_key_alone():
    assert np.array_equal(Draws(1, 2).uniform((5,)), Draws(1, 2).uniform((5,)))
    assert not np.array_equal(Draws(1, 2).uniform((5,)), Draws(1, 3).uniform((5,)))
