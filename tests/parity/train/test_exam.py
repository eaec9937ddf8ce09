"""The verb `exam`: metrics and loss of given weights."""

import json

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity import cli
from parity.weights import formats


@pytest.fixture
def exam(tmp_path):
    """Score a box at a place; returns the exit status and what was written."""
    run = make_run(make_dataset(tmp_path / "data", val=10), tmp_path / "none.safetensors")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))

    def call(box, *more):
        arrays = {"box.weight": np.array(box, np.float32), "score.weight": np.array([1, 0], np.float32)}
        formats.write(tmp_path / "w.safetensors", arrays | {"norm.running_mean": np.zeros(2, np.float32)})
        words = ["exam", "--config", tmp_path / "run.yaml", "--weights", tmp_path / "w.safetensors", *more]
        status = cli.main(NumpyFramework, [str(word) for word in (*words, "--out", tmp_path / "exam.json")])
        return status, json.loads((tmp_path / "exam.json").read_text()) if status == 0 else None

    return call


def test_metrics_and_loss_follow_the_weights(exam):
    (_, good), (_, bad) = exam([0.15, 0.125, 0.65, 0.625]), exam([0.5, 0.5, 0.9, 0.9])
    assert good["metrics"]["AP50"] == pytest.approx(0.25) and bad["metrics"]["AP50"] == 0
    assert good["loss"] < bad["loss"] and good["loss"] == pytest.approx(sum(good["losses"].values()))
    assert good["images"] == 10 and good["weights_sha256"] != bad["weights_sha256"] and good["dataset_digest"] == "d"


def test_the_loss_takes_whole_batches(exam):
    assert [exam([0, 0, 1, 1], "--loss-images", count)[1]["loss_images"] for count in (4, 7, 512)] == [4, 4, 8]


def test_the_same_weights_have_the_same_exam(exam):
    first, again = exam([0.1, 0.1, 0.6, 0.6])[1], exam([0.1, 0.1, 0.6, 0.6])[1]
    assert {key: first[key] for key in ("metrics", "loss")} == {key: again[key] for key in ("metrics", "loss")}


def test_no_images_for_the_loss_are_refused(exam, capsys):
    assert exam([0, 0, 1, 1], "--loss-images", 0)[0] == 2
    assert capsys.readouterr().err == "--loss-images 0: expected 1 or more\n"
