"""The verb `predict`: one image at a time, and a killed call that goes on."""

import json

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity import cli
from parity.weights import formats


@pytest.fixture
def words(tmp_path):
    """Arguments of `predict` on a dataset of four validation images."""
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.zeros(2, np.float32)}
    formats.write(tmp_path / "w.safetensors", arrays | {"norm.running_mean": np.zeros(2, np.float32)})
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "w.safetensors")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    words = ["predict", "--config", tmp_path / "run.yaml", "--weights", tmp_path / "w.safetensors"]
    return [str(word) for word in (*words, "--out", tmp_path / "d.json")]


class Killed(NumpyFramework):
    """Ends at the third image."""

    def forward(self, inputs):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            raise KeyboardInterrupt
        return super().forward(inputs)


def test_every_image_has_its_detections_and_times(words, tmp_path, capsys):
    assert cli.main(NumpyFramework, words) == 0
    found = json.loads((tmp_path / "d.json").read_text())
    assert {entry["image_id"] for entry in found} == {101, 102, 103, 104}
    lines = [json.loads(line) for line in (tmp_path / "d.timing.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == [101, 102, 103, 104]
    assert all(line["forward"] >= 0 and line["preprocess"] > 0 for line in lines)
    assert "4/4 images" in capsys.readouterr().err


def test_a_killed_call_goes_on_with_the_images_that_are_left(words, tmp_path, capsys):
    assert cli.main(NumpyFramework, words) == 0
    whole = (tmp_path / "d.json").read_bytes()
    (tmp_path / "d.json").unlink()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        raise SystemExit(cli.main(Killed, words))
    assert not (tmp_path / "d.json").exists() and (tmp_path / "d.json.part.jsonl").exists()
    capsys.readouterr()
    assert cli.main(NumpyFramework, words) == 0
    assert "goes on after 2 of 4 images" in capsys.readouterr().err
    assert (tmp_path / "d.json").read_bytes() == whole
