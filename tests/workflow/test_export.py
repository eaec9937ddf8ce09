"""The script behind `make export`: which images the check takes, what it refuses, what each side is asked."""

import json
import subprocess
import sys
from pathlib import Path

import export
import pytest
import yaml
from small_run import make_dataset, make_run

from parity.config.models import model_config
from parity.detect.model import of_run, of_weights
from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_folder(tmp_path):
    """A run of the PyTorch side on a dataset of two classes and four validation images; its weights are not there."""
    model = model_config("nanodet", "tiny", 2).plain()
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors", "torch") | {
        key: model[key] for key in ("model", "variant", "options", "groups", "label_space", "preprocess", "train")
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.yaml").write_text(yaml.safe_dump(run))
    (tmp_path / "run/run.json").write_text(json.dumps({"final_weights": "ema.safetensors"}))
    return tmp_path / "run"


def test_the_images_are_those_of_the_run_or_a_part_of_them(run_folder, tmp_path):
    detector = of_run(run_folder)
    assert export.images_of(detector, None, None, tmp_path / "part") == tmp_path / "data"
    assert export.images_of(detector, None, 2, tmp_path / "part") == tmp_path / "part"
    document = json.loads((tmp_path / "part/annotations/val.json").read_text())
    assert len(document["images"]) == 2 == len(document["annotations"])
    assert all((tmp_path / "part/images/val" / image["file_name"]).is_file() for image in document["images"])
    with pytest.raises(UserError, match=r"IMAGES=9: .* lists 4 images"):
        export.images_of(detector, None, 9, tmp_path / "part")


def test_a_folder_of_coco_and_folders_that_do_not_fit(run_folder, tmp_path):
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    (tmp_path / "data/annotations/val.json").rename(coco / "annotations/instances_val2017.json")
    detector = of_weights(tmp_path / "w.pth", "nanodet", None)
    assert export.images_of(detector, None, None, tmp_path / "part") is None
    with pytest.raises(UserError, match=r"coco: holds no validation images, expected annotations/val\.json with"):
        export.images_of(detector, coco, None, tmp_path / "part")
    (coco / "val2017").symlink_to(tmp_path / "data/images/val")
    with pytest.raises(UserError, match="has 2 classes, the model 80; the check needs the same ids"):
        export.images_of(detector, coco, None, tmp_path / "part")
    (tmp_path / "names.yaml").write_text("[even, odd]")
    detector = of_weights(tmp_path / "w.pth", "nanodet", None, tmp_path / "names.yaml")
    assert export.images_of(detector, coco, None, tmp_path / "part") == tmp_path / "part"
    assert len(json.loads((tmp_path / "part/annotations/val.json").read_text())["images"]) == 4


@pytest.mark.parametrize("framework", ["torch", "jittor"])
def test_each_framework_is_asked_for_the_same(run_folder, tmp_path, framework):
    detector = of_run(run_folder)
    run = export.configuration(detector, framework, tmp_path / "data", tmp_path / "w.safetensors", 2)
    assert (run.framework, run.threads, run.data.root) == (framework, 2, str(tmp_path / "data"))
    assert run.framework_options == ({"ops": "fast"} if framework == "jittor" else {})
    assert run.options == detector.config.options and run.preprocess == detector.config.preprocess
    assert run.evaluate == detector.config.evaluate


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--check", "yes"], "CHECK: 'yes', expected 1, 0 or auto"),
        (["--images", "0"], "IMAGES: '0', expected a number of images from 1 on"),
    ],
)
def test_wrong_arguments_are_one_line(words, message, tmp_path):
    command = [sys.executable, str(ROOT / "workflow/scripts/export.py"), "--out", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, message + "\n")


def test_without_images_the_check_is_incomplete_and_only_what_was_asked_for_fails(monkeypatch, tmp_path, capsys):
    """The call of the exporter is left out: it is tested where its environment is."""
    monkeypatch.setattr(export, "call", lambda *words, **more: None)
    given = ["export.py", "--out", str(tmp_path)]
    model = ["--", "--model", "nanodet", "--weights", "w.pth"]
    for check, status in (("auto", 0), ("1", 1), ("0", 0)):
        monkeypatch.setattr(sys, "argv", [*given, "--check", check, *model])
        assert export.main() == status
        said = capsys.readouterr()
        assert ("incomplete: not compared with the frameworks: no validation images are known" in said.err) == (
            check != "0"
        )
    make_dataset(tmp_path / "data", val=0)
    names = tmp_path / "names.yaml"
    names.write_text("[even, odd]")
    monkeypatch.setattr(sys, "argv", [*given, "--data", str(tmp_path / "data"), *model, "--names", str(names)])
    assert export.main() == 1 and "data: has no image" in capsys.readouterr().err
