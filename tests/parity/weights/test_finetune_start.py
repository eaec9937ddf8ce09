"""Where fine-tuning starts: files without the part that only training uses, and files of other classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from official_keys import KeysOnly, fill, small

from parity import cli
from parity.framework import TensorInfo
from parity.weights import formats
from parity.weights.initialize import initialize

ENTRIES = json.loads((Path(__file__).parents[2] / "golden/nanodet-plus-m_320/keys.json").read_text())["keys"]
EIGHTY = [TensorInfo(name, small(name, shape), dtype, "") for name, shape, dtype, _ in ENTRIES]
BOX_ROWS = 32  # four sides of eight bins


class Nano(KeysOnly):
    """The names and shapes of NanoDet-Plus, narrower, with as many classes as asked for."""

    def tensors(self) -> list[TensorInfo]:
        return [TensorInfo(t.name, self.shape(t), t.dtype, t.kind) for t in EIGHTY]

    def shape(self, info: TensorInfo) -> tuple[int, ...]:
        if info.name == "head.distribution_project.project":
            return (8,)
        if info.name.startswith("head.gfl_cls."):
            return (self.classes + BOX_ROWS, *info.shape[1:])
        return (self.classes, *info.shape[1:]) if info.name.startswith("aux_head.gfl_cls") else info.shape


def tensors(classes: int) -> list[TensorInfo]:
    framework = Nano()
    framework.build("nanodet", {"num_classes": classes})
    return framework.tensors()


def init(folder: Path, classes: int, *arguments) -> int:
    out = folder / "i.safetensors"
    fixed = ["init", "--model", "nanodet", "--variant", "plus-m_320", "--num-classes", classes, "--out", out]
    return cli.main(Nano, [str(word) for word in (*fixed, *arguments)])


@pytest.fixture
def deployed(tmp_path) -> Path:
    """A file of 80 classes without the auxiliary part."""
    arrays = {name: array for name, array in fill(tensors(80)).items() if not name.startswith("aux_")}
    formats.write(tmp_path / "deployed.pth", arrays)
    return tmp_path / "deployed.pth"


def test_a_file_without_the_auxiliary_part_keeps_the_seeded_one(tmp_path, deployed):
    assert init(tmp_path, 80, "--weights", deployed) == 0
    given, seeded = formats.read(deployed), initialize("nanodet", tensors(80), 0, {})
    back = formats.read(tmp_path / "i.safetensors")
    assert set(back) == set(seeded)
    for name, array in back.items():
        assert np.array_equal(array, given[name] if name in given else seeded[name]), name
    report = json.loads((tmp_path / "i.safetensors.report.json").read_text())["pretrained"]
    assert report["drawn"] == [t.name for t in tensors(80) if t.name.startswith("aux_")] and len(report["drawn"]) > 200
    assert report["taken"] == len(given)
    converted = ["convert", "--input", tmp_path / "i.safetensors", "--output", tmp_path / "i.pkl"]
    assert cli.main(Nano, [str(word) for word in converted]) == 0
    conversion = json.loads((tmp_path / "i.pkl.report.json").read_text())["pretrained"]
    assert conversion["drawn"] == report["drawn"] and conversion["input"] == "deployed.pth"
    assert conversion["input_sha256"] == report["input_sha256"]


def test_anything_else_that_is_missing_is_refused(tmp_path, deployed, capsys):
    arrays = formats.read(deployed)
    formats.write(tmp_path / "less.pth", {name: a for name, a in arrays.items() if name != "head.gfl_cls.0.bias"})
    assert init(tmp_path, 80, "--weights", tmp_path / "less.pth") == 2
    assert "lacks 1 of" in capsys.readouterr().err
    whole = fill(tensors(80))
    formats.write(tmp_path / "torn.pth", {name: a for name, a in whole.items() if not name.startswith("aux_head.cls")})
    assert init(tmp_path, 80, "--weights", tmp_path / "torn.pth") == 2
    assert "aux_head.cls_convs" in capsys.readouterr().err
    assert not (tmp_path / "i.safetensors").exists()


def test_other_classes_keep_what_does_not_depend_on_them(tmp_path, deployed, capsys):
    """Classes start anew, as seeded; the rows of the same tensors that give box sides are the file's."""
    assert init(tmp_path, 3, "--weights", deployed) == 2
    assert "init.reset_classes: true" in capsys.readouterr().err
    assert init(tmp_path, 3, "--weights", deployed, "--reset-classes") == 0
    given, seeded = formats.read(deployed), initialize("nanodet", tensors(3), 0, {})
    back = formats.read(tmp_path / "i.safetensors")
    heads = [t.name for t in tensors(3) if t.name.startswith("head.gfl_cls")]
    assert len(heads) == 8
    for name in heads:
        assert np.array_equal(back[name][:3], seeded[name][:3]), name
        assert np.array_equal(back[name][3:], given[name][80:]), name
    assert all(np.array_equal(back[name], array) for name, array in given.items() if name not in heads)
    report = json.loads((tmp_path / "i.safetensors.report.json").read_text())["pretrained"]
    assert report["reset_classes"] == heads
    assert report["kept_box_rows"] == dict.fromkeys(heads, BOX_ROWS)


def test_both_parts_of_a_whole_file_of_other_classes(tmp_path):
    formats.write(tmp_path / "whole.pkl", fill(tensors(80)))
    assert init(tmp_path, 3, "--weights", tmp_path / "whole.pkl", "--reset-classes") == 0
    report = json.loads((tmp_path / "i.safetensors.report.json").read_text())["pretrained"]
    assert {name.partition(".")[0] for name in report["reset_classes"]} == {"head", "aux_head"}
    assert report["drawn"] == [] and set(report["kept_box_rows"]) == {n for n in report["reset_classes"] if n[0] == "h"}
