"""States that a training keeps: which steps, what they hold, and that keeping them changes nothing."""

import interrupted
import numpy as np
import pytest
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.align.files import Arrays, steps_of
from parity.config.run import RunConfig
from parity.train import engine
from parity.train.record import read_metrics
from parity.train.states import anchor_steps, spread
from parity.weights import formats


@pytest.fixture
def run(tmp_path):
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors") | {"checkpoint_minutes": 1e-9}
    interrupted.draw_weights("numpy", run)
    return run


def trained(run, out, framework=None):
    engine.train(RunConfig(**run), framework or NumpyFramework(), out)
    return out


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(360, 5, [1, 4, 19, 83, 360]), (6, 5, [1, 2, 3, 4, 6]), (3, 5, [1, 2, 3]), (1, 5, [1]), (9, 0, [])],
)
def test_steps_are_spread_over_the_whole_run(total, count, expected):
    assert spread(total, count) == expected


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (100, 10, [2, 3, 4, 6, 9, 14, 22, 37, 60, 100]),
        (5, 10, [2, 3, 4, 5]),
        (2, 10, [2]),
        (1, 10, [1]),
        (1, 0, []),
        (360, 0, []),
    ],
)
def test_the_untrained_weights_are_left_out_and_the_last_step_is_there(total, count, expected):
    assert anchor_steps(total, count) == expected


def test_keeping_states_changes_no_bit_of_the_training(run, tmp_path):
    without, kept = trained(run, tmp_path / "a"), trained(run | {"keep_states": 3}, tmp_path / "b")
    for name in ("last.safetensors", "ema.safetensors", "best.safetensors", "detections.json", "coco.json"):
        assert (without / name).read_bytes() == (kept / name).read_bytes()
    totals = [[line["total"] for line in read_metrics(folder / "metrics.jsonl")] for folder in (without, kept)]
    assert totals[0] == totals[1]
    assert len(Arrays(without / "states.npz")) == 0
    assert steps_of(Arrays(kept / "states.npz")) == [2, 4, 9]


def test_a_state_is_that_of_the_step_before_and_the_folder_is_gone(run, tmp_path):
    out = trained(run | {"keep_states": 3, "keep_checkpoints": 100}, tmp_path / "out")
    states = Arrays(out / "states.npz")
    for step in (2, 4, 9):
        checkpoint = formats.read(out / f"checkpoints/step-{step - 1:08d}.safetensors")
        for part, kind in (("state", "model"), ("moments", "optimizer")):
            expected = {n.removeprefix(f"{kind}/"): a for n, a in checkpoint.items() if n.startswith(f"{kind}/")}
            found = states.part(f"{step}/{part}/")
            assert found.keys() == expected.keys() and all(np.array_equal(found[n], expected[n]) for n in found)
    assert not (out / "checkpoints/states").exists()


class Killed(Exception):
    pass


class Dies(NumpyFramework):
    """Is killed in its sixth step."""

    def optimizer_step(self, *args, **kwargs):
        if self.steps == 5:
            raise Killed
        return super().optimizer_step(*args, **kwargs)


def test_a_run_that_was_killed_has_the_states_of_one_that_was_not(run, tmp_path):
    run |= {"keep_states": 3}
    whole = trained(run, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(run, tmp_path / "killed", Dies())
    assert not (tmp_path / "killed/states.npz").exists()
    again = trained(run, tmp_path / "killed")
    assert (again / "states.npz").read_bytes() == (whole / "states.npz").read_bytes()
    trained(run, tmp_path / "killed")  # finished already: nothing is trained, nothing is lost
    assert (again / "states.npz").read_bytes() == (whole / "states.npz").read_bytes()
