"""A step in PyTorch that gives no number says where, and can be repeated from what it leaves."""

import argparse
import shlex

import numpy as np
import pytest
from small_run import make_run

from parity.align import trace
from parity.config.run import RunConfig
from parity.train.trouble import why_not_finite
from torch_impl.framework import TorchFramework


@pytest.fixture
def step(options, batch, tmp_path):
    """(framework, run, batch) of a step of a very small model."""
    made = TorchFramework("cpu", 1, {})
    made.seed(0)
    made.build("rtdetr", options())
    run = RunConfig(**make_run(tmp_path, tmp_path / "w", "torch") | {"model": "rtdetr", "options": options()})
    given = batch()
    given.image_ids = np.array([7, 9])
    return made, run, given


def broken(made, name: str, value: float) -> None:
    """Fill a parameter with one value."""
    state = made.state()
    state[name] = np.full_like(state[name], value)
    made.load_state(state)


def test_the_first_module_without_a_number_is_named(step, tmp_path):
    made, run, given = step
    name = next(t.name for t in made.tensors() if t.kind == "parameter" and "encoder.input_proj" in t.name)
    broken(made, name, 3e38)  # a number itself, but its products are none
    said = why_not_finite(run, made, given, (0, 1), 0, tmp_path)
    assert said.startswith(f"first in the output of module {name.rpartition('.')[0]}"), said
    words = shlex.split((tmp_path / "not_finite/command.txt").read_text())
    parser = argparse.ArgumentParser()
    trace.add_arguments(parser)
    args = parser.parse_args(words[4:])
    assert args.layers and args.mode == "train" and "hidden_dim=32" in args.set
    inputs, draws = trace.read_inputs(args.inputs, True, 3)
    assert np.array_equal(inputs.images, given.images) and draws


def test_weights_that_are_none_are_named(step, tmp_path):
    made, run, given = step
    name = next(t.name for t in made.tensors() if t.kind == "parameter" and "decoder" in t.name)
    broken(made, name, float("nan"))
    assert why_not_finite(run, made, given, (0, 1), 0, tmp_path).startswith(
        f"the weights were none already, first of them {name}"
    )


def test_a_step_of_numbers_leaves_nothing(step, tmp_path):
    made, run, given = step
    assert why_not_finite(run, made, given, (0, 1), 0, tmp_path) is None and not list(tmp_path.iterdir())
