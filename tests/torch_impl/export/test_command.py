"""`python -m torch_impl.export`: files from a run of either framework or from a weight file, and what it refuses."""

import json

import pytest
import torch
from small_runs import small_run

onnx = pytest.importorskip("onnx", reason="onnx is in the environment of `make export` only")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the environment of `make export` only")

from parity.config.models import model_config  # noqa: E402
from parity.export.session import Session  # noqa: E402
from parity.weights import formats  # noqa: E402
from torch_impl.export.__main__ import main  # noqa: E402
from torch_impl.models import build  # noqa: E402
from torch_impl.state import to_arrays  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    return small_run(tmp_path_factory.mktemp("runs") / "run", "detr", "jittor")


def call(*words):
    return main([str(word) for word in words])


def test_a_run_of_jittor_becomes_two_files_and_is_said(run, tmp_path, capsys):
    assert call("--run", run, "--out", tmp_path, "--state", tmp_path / "state.safetensors") == 0
    said = capsys.readouterr().out
    assert "last.safetensors: weights of Jittor, exported through the PyTorch model of the same name" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "detr-tiny-raw.onnx",
        "detr-tiny.onnx",
        "state.safetensors",
    ]
    about = Session(tmp_path / "detr-tiny.onnx").metadata
    state = formats.read(tmp_path / "state.safetensors")
    assert about["trained_by"] == "jittor" and about["weights_sha256"] == formats.weights_sha256(state)
    assert about["torch"] == torch.__version__ and about["onnx"] == onnx.__version__


def test_a_weight_file_with_its_model_and_classes(tmp_path, capsys):
    (tmp_path / "names.yaml").write_text("[even, odd]")
    model = build("detr", model_config("detr", "tiny", 3).options)
    formats.write(tmp_path / "w.pkl", to_arrays(model.state_dict()))
    given = ["--weights", tmp_path / "w.pkl", "--model", "detr", "--names", tmp_path / "names.yaml"]
    assert call(*given, "--size", "fixed", "--batch", 2, "--out", tmp_path) == 0
    assert "w.pkl: weights of Jittor" in capsys.readouterr().out
    session = Session(tmp_path / "detr-tiny.onnx")
    assert session.session.get_inputs()[0].shape == [2, 3, 128, 128] and session.metadata["trained_by"] == "unknown"
    assert json.loads(session.metadata["classes"])[1] == {"label": 2, "id": 2, "name": "odd"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "tflite"], "FORMAT: 'tflite' is unknown, expected onnx"),
        (["--batch", "0"], "BATCH: '0', expected a number of images from 1 on, or any"),
        (["--size", "640"], "SIZE: '640', expected any or fixed"),
        (["--size", "fixed"], "SIZE: fixed does not fit detr tiny, whose images keep their proportions; expected any"),
        (["--weights", "nowhere.pth"], "nowhere.pth: "),
        (["--weights", "weights.h5"], "weights.h5: unknown weights format '.h5'"),
        (["--model", "nanodet"], "MODEL: 'nanodet' was asked for, but "),
        (["--variant", "r50"], "run is a run of tiny"),
        (["--opset", "9"], "unrecognized arguments: --opset 9"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(run, words, message, tmp_path, capsys):
    assert call("--run", run, "--out", tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected --run FOLDER, or --weights FILE with --model"),
        (["--run", "nowhere"], "nowhere/run.yaml: "),
        (["--weights", "w.pth"], "--weights needs --model"),
        (["--weights", "w.pth", "--model", "yolo"], "model 'yolo': expected one of detr, gfocalv2, nanodet, rtdetr"),
        (["--weights", "w.pth", "--model", "detr", "--variant", "r18"], "variant 'r18' of detr: expected one of tiny"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(words, message, tmp_path, capsys):
    assert call("--out", tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_weights_of_another_model_are_one_line(run, tmp_path, capsys):
    other = small_run(tmp_path / "other", "rtdetr") / "last.safetensors"
    assert call("--run", run, "--weights", other, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith(f"{other}: lacks ")


def test_a_file_in_the_place_of_the_folder_is_one_line(run, tmp_path, capsys):
    (tmp_path / "out").write_text("here first")
    assert call("--run", run, "--out", tmp_path / "out") == 2
    assert "out/detr-tiny.onnx: cannot be written" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "here first"
