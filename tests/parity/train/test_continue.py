"""A run goes on from the checkpoint of another one, whichever framework wrote it."""

import interrupted
import numpy as np
import pytest
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.config.run import RunConfig
from parity.errors import UserError
from parity.report.figures.continued import continued, differences
from parity.train import checkpoint, engine
from parity.train.record import read_metrics
from parity.weights import formats


class Other(NumpyFramework):
    """Another framework: the same arithmetic, and a way of its own to keep moments."""

    name = "other"

    def make_optimizer(self, kind, groups, **options):
        super().make_optimizer(kind, groups, **options)
        self.moments = dict(reversed(self.moments.items()))


@pytest.fixture
def run(tmp_path):
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors")
    interrupted.draw_weights("numpy", run)
    return run | {"checkpoint_minutes": 1e-9, "keep_checkpoints": 100}


@pytest.fixture
def whole(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture
def going_on(run, whole):
    """The configuration of a run in the other framework from step 4, in the middle of epoch 2."""
    return run | {"framework": "other", "continue_from": str(whole / "checkpoints/step-00000004.safetensors")}


def test_the_rest_of_the_run_is_that_of_the_first_framework(going_on, whole, tmp_path):
    record = engine.train(RunConfig(**going_on), rest := Other(), tmp_path / "rest")
    assert len(rest.seen) == 5
    assert record["best_epoch"] == 2 and (tmp_path / "rest/best.safetensors").exists()  # of its own epochs
    for name in ("last", "ema"):
        first, second = (formats.read(folder / f"{name}.safetensors") for folder in (whole, tmp_path / "rest"))
        assert all(np.array_equal(first[key], second[key]) for key in first)
    one, two = (read_metrics(folder / "metrics.jsonl") for folder in (whole, tmp_path / "rest"))
    assert [line["step"] for line in two if line["kind"] == "step"] == [5, 6, 7, 8, 9]
    totals = [[line["total"] for line in lines if line["kind"] == "epoch"] for lines in (one, two)]
    assert totals[1] == totals[0][1:]  # the epoch that was begun elsewhere is summed up whole
    origin = record["continued_from"]
    assert (origin["framework"], origin["step"], origin["epoch"], len(origin["sha256"])) == ("numpy", 4, 1, 64)


def test_it_is_itself_resumed_from_its_own_checkpoints(going_on, tmp_path, capsys):
    class Killed(Other):
        def optimizer_step(self, lrs, clip_norm):
            if self.steps == 7:
                raise KeyboardInterrupt
            return super().optimizer_step(lrs, clip_norm)

    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**going_on), Killed(), tmp_path / "rest")
    record = engine.train(RunConfig(**going_on), rest := Other(), tmp_path / "rest")
    assert len(rest.seen) == 2 and record["continued_from"]["step"] == 4
    assert "continues after epoch 2, step 7" in capsys.readouterr().err


def test_a_finished_run_goes_on_with_more_epochs(run, tmp_path):
    run["train"]["schedule"] = {"kind": "constant"}
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "short")
    source = {"continue_from": str(tmp_path / "short")}
    with pytest.raises(UserError, match=r"short: stands after epoch 3, step 9, where this run ends too"):
        engine.train(RunConfig(**(run | source)), Other(), tmp_path / "same")
    longer = run | {"train": run["train"] | {"epochs": 4}}
    engine.train(RunConfig(**(longer | source)), rest := Other(), tmp_path / "rest")
    engine.train(RunConfig(**longer), NumpyFramework(), tmp_path / "whole")
    first, second = (formats.read(tmp_path / f"{name}/last.safetensors") for name in ("whole", "rest"))
    assert len(rest.seen) == 3 and all(np.array_equal(first[key], second[key]) for key in first)


def test_what_cannot_be_continued_is_refused(going_on, whole, tmp_path):
    with pytest.raises(UserError, match=r"another configuration: seed is 3 there, 4 here"):
        engine.train(RunConfig(**(going_on | {"seed": 4})), Other(), tmp_path / "rest")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no whole checkpoint"):
        engine.train(RunConfig(**(going_on | {"continue_from": str(tmp_path / "empty")})), Other(), tmp_path / "rest")
    with pytest.raises(UserError, match=r"nowhere: cannot be read"):
        engine.train(RunConfig(**(going_on | {"continue_from": str(tmp_path / "nowhere")})), Other(), tmp_path / "rest")


def test_a_damaged_checkpoint_of_another_run_is_passed_over_and_left(whole):
    newest = sorted((whole / "checkpoints").iterdir())[-1]
    newest.write_bytes(b"damaged")
    assert checkpoint.read(whole).position.step == 8 and newest.read_bytes() == b"damaged"
    with pytest.raises(UserError, match=r"step-00000009.safetensors: holds no whole checkpoint: .* is damaged"):
        checkpoint.read(newest)


def test_the_figure_shows_both_curves_and_the_joint(going_on, whole, tmp_path):
    engine.train(RunConfig(**going_on), Other(), tmp_path / "rest")
    figure = continued(whole, tmp_path / "rest")
    upper, lower = figure.axes
    assert [len(line.get_xdata()) for line in upper.lines] == [9, 5, 2] and upper.lines[2].get_xdata()[0] == 4.5
    assert "after step 4" in figure.get_suptitle() and lower.get_xlabel() == "optimiser step"
    steps, apart = differences(whole, tmp_path / "rest")
    assert steps.tolist() == [5, 6, 7, 8, 9] and not apart.any()
    with pytest.raises(UserError, match="continued no other one"):
        continued(whole, whole)
