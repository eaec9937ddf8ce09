"""The verb `predict`: one image at a time, and a killed call that goes on."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from PIL import Image
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


def photographs(root: Path, count: int) -> None:
    """Make `count` validation images of 640 x 480 pixels out of the four small ones: names of one file."""
    document = json.loads((root / "annotations/val.json").read_text())
    entries, objects = document["images"], document["annotations"]
    Image.fromarray(np.zeros((480, 640, 3), np.uint8)).save(root / "images/val/large.png")
    for i in range(count):
        (root / f"images/val/{i}.large.png").hardlink_to(root / "images/val/large.png")
    large = {"width": 640, "height": 480}
    document["images"] = [entries[0] | large | {"id": i, "file_name": f"{i}.large.png"} for i in range(count)]
    document["annotations"] = [objects[0] | {"id": i, "image_id": i} for i in range(count)]
    (root / "annotations/val.json").write_text(json.dumps(document))


def test_forty_images_take_the_memory_of_ten(words, tmp_path):
    """A decoded photograph is 0.9 MB: kept, thirty more would be 27 MB."""
    peaks = []
    for count in (10, 10, 40):  # the first call also pays for imports
        for old in (tmp_path / "data/images/val").glob("*large.png"):
            old.unlink()
        photographs(tmp_path / "data", count)
        tracemalloc.start()
        assert cli.main(NumpyFramework, words) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len((tmp_path / "d.timing.jsonl").read_text().splitlines()) == count
    assert peaks[2] - peaks[1] < 1e6


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


def test_multiply_accumulates_are_written_where_asked_for(words, tmp_path):
    assert cli.main(NumpyFramework, [*words, "--macs", str(tmp_path / "macs.json")]) == 0
    found = json.loads((tmp_path / "macs.json").read_text())
    assert found["value"] > 0 and len(found["input"]) == 4 and found["input"][0] == 1
    assert len((tmp_path / "d.timing.jsonl").read_text().splitlines()) == 4  # the image is predicted as well
