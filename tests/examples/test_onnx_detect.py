"""The example gives the boxes of `make detect`, for every way of resizing, and needs nothing of the project."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import PREPROCESS, small_run

pytest.importorskip("onnx", reason="onnx is in the environment of `make export` only")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the environment of `make export` only")

from parity import cli
from parity.compare.agreement import agreement
from parity.data.transforms import make_preprocess
from parity.export import contract
from torch_impl.export.__main__ import main
from torch_impl.framework import TorchFramework

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/onnx_detect.py"
SIZES = [(80, 120), (128, 128), (61, 157), (300, 90), (128, 256)]  # (height, width); one is exactly halved


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("onnx_detect", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_it_imports_nothing_but_what_it_says():
    names = set()
    for node in ast.walk(ast.parse(EXAMPLE.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
    assert names - sys.stdlib_module_names == {"numpy", "onnxruntime", "PIL"}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", PREPROCESS)
def test_its_pixels_are_those_of_validation(example, name, size):
    image, preprocess = picture(*size), make_preprocess(PREPROCESS[name])
    tensor, inside = example.prepare(image, json.loads(json.dumps(contract.describe(preprocess))))
    expected, _ = preprocess(image, np.zeros((0, 4), np.float32))
    assert inside == expected.shape[1:] and all(n % preprocess.pad_multiple == 0 for n in tensor.shape[2:])
    assert np.array_equal(tensor[0, :, : inside[0], : inside[1]], expected)
    assert tensor.sum() == pytest.approx(expected.sum(), abs=0.5)  # the rest is zero


@pytest.mark.parametrize("name", PREPROCESS)
def test_its_boxes_are_those_of_detect(name, tmp_path):
    torch.set_num_threads(1)
    run, photos = small_run(tmp_path / "run", name), tmp_path / "photos"
    photos.mkdir()
    exif = Image.Exif()
    for number, size in enumerate(SIZES[:3]):
        exif[0x0112] = 6 if number == 2 else 1  # the last one lies on its side
        Image.fromarray(picture(*size)).save(photos / f"{number}.png", exif=exif)
    files = sorted(str(path) for path in photos.iterdir())
    assert cli.main(TorchFramework, ["detect", "--run", str(run), "--source", str(photos), "--conf", "0.002",
                                     "--out", str(tmp_path / "detected")]) == 0  # fmt: skip
    assert main(["--run", str(run), "--out", str(tmp_path / "exported")]) == 0
    command = [sys.executable, "-I", str(EXAMPLE), str(tmp_path / f"exported/{name}-tiny.onnx"), *files]
    done = subprocess.run([*command, "--conf", "0.002", "--out", str(tmp_path / "found.json")], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "detected/detections.json").read_text())
    found = json.loads((tmp_path / "found.json").read_text())
    assert [entry["file_name"] for entry in found] == sorted(entry["file_name"] for entry in found)
    agree = agreement(expected, found, 3)
    assert agree.matched >= 6 and not agree.first_only and not agree.second_only
    assert agree.score < 1e-4 and agree.box < 0.05
    assert f"3 images, {len(found)} objects with score >= 0.002" in done.stdout


def test_a_file_of_raw_outputs_is_refused(example, tmp_path):
    run = small_run(tmp_path / "run", "detr")
    assert main(["--run", str(run), "--out", str(tmp_path)]) == 0
    with pytest.raises(ValueError, match="holds no detections, expected a file without -raw in its name"):
        example.Model(str(tmp_path / "detr-tiny-raw.onnx"))
