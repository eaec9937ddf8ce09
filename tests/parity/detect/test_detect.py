"""The verb `detect` with the NumPy framework: what it writes, prints and refuses."""

import json

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from PIL import Image
from small_run import make_dataset, make_run

from parity import cli
from parity.detect import detect
from parity.detect.model import class_names
from parity.errors import UserError
from parity.files import read_json
from parity.weights import formats

WEIGHTS = {
    "box.weight": np.array([0.25, 0.5, 0.75, 0.75], np.float32),
    "score.weight": np.array([0.3, 0.9], np.float32),
    "norm.running_mean": np.zeros(2, np.float32),
}


@pytest.fixture
def run_folder(tmp_path):
    """A finished run of the NumPy framework, as its files."""
    folder = tmp_path / "run"
    folder.mkdir()
    run = make_run(make_dataset(tmp_path / "data"), folder / "init.safetensors")
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    (folder / "run.json").write_text(json.dumps({"final_weights": "last.safetensors"}))
    formats.write(folder / "last.safetensors", WEIGHTS)
    return folder


def image(path, size=(80, 40), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", size, "grey").save(path, exif=exif)
    return path


def call(*arguments):
    return cli.main(NumpyFramework, ["detect", *(str(a) for a in arguments)])


def test_pictures_results_and_counts(run_folder, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    image(photos / "a.png")
    image(photos / "deeper/a.png", size=(64, 64))
    assert call("--run", run_folder, "--source", photos, "--out", out) == 0
    assert sorted(p.name for p in out.glob("*.png")) == ["a-2.png", "a.png"]
    assert Image.open(out / "a.png").size == (80, 40)
    results = read_json(out / "detections.json")
    assert {entry["file_name"] for entry in results} == {str(photos / "a.png"), str(photos / "deeper/a.png")}
    assert {entry["category_id"] for entry in results} == {2} and min(entry["score"] for entry in results) >= 0.5
    assert "2 images, 2 detections with score >= 0.5: odd 2" in capsys.readouterr().out


def test_boxes_are_those_of_the_upright_image(run_folder, tmp_path):
    photo = image(tmp_path / "turned.png", size=(80, 40), orientation=6)  # a viewer shows it 40 wide, 80 high
    assert call("--run", run_folder, "--source", photo, "--out", tmp_path / "out") == 0
    about = read_json(tmp_path / "out/images.json")["images"][0]
    assert (about["width"], about["height"]) == (40, 80)
    (entry,) = read_json(tmp_path / "out/detections.json")
    assert entry["bbox"][2:] == pytest.approx([20, 20])  # half of the width, a quarter of the height


@pytest.mark.parametrize(("conf", "count"), [(0.89, 1), (0.91, 0)])
def test_scores_below_the_limit_are_left_out(run_folder, tmp_path, conf, count):
    photo = image(tmp_path / "a.png")
    assert call("--run", run_folder, "--source", photo, "--out", tmp_path / "out", "--conf", conf) == 0
    assert len(read_json(tmp_path / "out/detections.json")) == count


def test_files_that_cannot_be_read_are_named_at_the_end_and_the_others_are_done(run_folder, tmp_path, capsys):
    photos = tmp_path / "photos"
    image(photos / "good.png")
    (photos / "broken.jpg").write_bytes(b"no image")
    assert call("--run", run_folder, "--source", photos, tmp_path / "gone.png", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert f"not done: {photos / 'broken.jpg'}: cannot be read as an image" in said
    assert f"not done: {tmp_path / 'gone.png'}: is not there" in said
    assert (tmp_path / "out/good.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "x.png"], "expected --run FOLDER, or --weights FILE"),
        (["--source", "x.png", "--weights", "w.safetensors"], "--weights needs --model"),
        (["--source", "x.png", "--weights", "w", "--model", "yolo"], "model 'yolo': expected one of"),
        (["--source", "x.png", "--conf", "50"], "--conf: 50.0 is no score, expected a number from 0 to 1"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, tmp_path, capsys):
    assert call("--out", tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_nothing_readable_is_refused(run_folder, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"")
    assert call("--run", run_folder, "--source", tmp_path / "broken.png", "--out", tmp_path / "out") == 2
    assert "broken.png" in capsys.readouterr().err and not (tmp_path / "out/detections.json").exists()


def test_names_of_classes(tmp_path):
    (tmp_path / "list.yaml").write_text("[cat, 犬]")
    (tmp_path / "map.json").write_text('{"3": "cat"}')
    (tmp_path / "wrong.yaml").write_text("{cat: 3}")
    assert class_names(tmp_path / "list.yaml") == {1: "cat", 2: "犬"}
    assert class_names(tmp_path / "map.json") == {3: "cat"}
    with pytest.raises(UserError, match=r"wrong\.yaml: 'cat' is no class id"):
        class_names(tmp_path / "wrong.yaml")


def test_one_image_is_padded_like_a_validation_batch():
    def preprocess(picture, boxes):
        return np.ones((3, 30, 50), np.float32), boxes

    preprocess.pad_multiple = 32
    batch = detect.one_image(np.zeros((60, 100, 3), np.uint8), preprocess, 7)
    assert batch.images.shape == (1, 3, 32, 64) and batch.images.sum() == 3 * 30 * 50
    assert batch.sizes.tolist() == [[30, 50]] and batch.original.tolist() == [[60, 100]]
