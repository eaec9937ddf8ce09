"""Conversion: the account of every tensor, official wrappers and backbones, and nothing written when it fails."""

import json

import numpy as np
import pytest
from hostile import dump, payloads, torch_zip
from official_keys import KEYS, SMALL, KeysOnly, backbone, detector_of, fill

from parity import cli
from parity.errors import UserError
from parity.framework import TensorInfo
from parity.weights import formats
from parity.weights.convert import convert
from parity.weights.coverage import allowed


def command(*arguments, capsys=None) -> tuple[int, str]:
    status = cli.main(KeysOnly, [str(argument) for argument in arguments])
    return status, capsys.readouterr().err if capsys else ""


def without(arrays: dict, *names: str) -> dict:
    return {name: array for name, array in arrays.items() if name not in names}


def assert_nothing_but(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("first", [".pth", ".safetensors", ".pkl"])
@pytest.mark.parametrize("second", [".pth", ".safetensors", ".pkl"])
def test_any_format_to_any_other_without_a_model(tmp_path, first, second):
    source, target = tmp_path / f"a{first}", tmp_path / f"b{second}"
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "half": np.ones(2, np.float16), "n": np.array(3)}
    formats.write(source, arrays)
    assert command("convert", "--input", source, "--output", target)[0] == 0
    back = formats.read(target)
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in back.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()
    }
    report = json.loads((tmp_path / f"b{second}.report.json").read_text())
    assert sorted((row["source"], row["target"], row["shape"], row["dtype"]) for row in report["tensors"]) == [
        ("half", "half", [2], "float16"),
        ("n", "n", [], "int64"),
        ("w", "w", [2, 3], "float32"),
    ]
    assert report["unused_source"] == report["unfilled_target"] == report["reshaped"] == []
    assert report["verified"] == 3 and report["wrapper"] is None


def test_a_full_checkpoint_against_the_model(tmp_path, capsys):
    arrays = fill(SMALL)
    averaged = {"module": {f"module.{name}": array for name, array in arrays.items()}, "updates": 7}
    (tmp_path / "ckpt.pkl").write_bytes(dump({"model": fill(SMALL, 1), "ema": averaged, "last_epoch": 3}))
    arguments = ("--model", "rtdetr", "--variant", "r18vd", "--num-classes", 80)
    status, _ = command("convert", "--input", tmp_path / "ckpt.pkl", "--output", tmp_path / "w.safetensors", *arguments)
    assert status == 0
    back = formats.read(tmp_path / "w.safetensors")
    assert set(back) == set(arrays)
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    report = json.loads((tmp_path / "w.safetensors.report.json").read_text())
    assert report["wrapper"] == "ema.module" and report["part"] == "detector" and report["verified"] == 533
    assert report["tensors"][0]["source"] == "module." + SMALL[0].name
    assert report["weights_sha256"] == formats.weights_sha256(arrays)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize("frozen", [False, True])
def test_presnet_files_fill_the_backbone(tmp_path, depth, frozen):
    name = f"presnet{depth}_vd"
    arrays = backbone(name)
    formats.write(tmp_path / "b.pth", arrays)
    report = convert(tmp_path / "b.pth", tmp_path / "w.safetensors", detector_of(name, frozen=frozen), "rtdetr")
    back = formats.read(tmp_path / "w.safetensors")
    assert len(back) == (sum("num_batches" not in key for key, *_ in KEYS[name]) if frozen else len(KEYS[name]))
    assert all(np.array_equal(array, arrays[key.removeprefix("backbone.")]) for key, array in back.items())
    assert report["part"] == "backbone" and report["prefix"] == "backbone." and report["unfilled_target"] == []
    assert all(key.endswith("num_batches_tracked") for key in report["unused_source"])
    assert bool(report["unused_source"]) == frozen


@pytest.mark.parametrize(("model", "prefix"), [("gfocalv2", "backbone."), ("detr", "backbone.0.body.")])
@pytest.mark.parametrize("name", ["torchvision_resnet50", "torchvision_resnet101"])
def test_torchvision_files_lose_their_classifier_and_say_so(tmp_path, name, model, prefix):
    formats.write(tmp_path / "b.pth", backbone(name))
    targets = detector_of(name, prefix, frozen=model == "detr")
    report = convert(tmp_path / "b.pth", tmp_path / "w.pkl", targets, model)
    unused = [key for key in report["unused_source"] if not key.endswith("num_batches_tracked")]
    assert unused == ["fc.bias", "fc.weight"]
    assert "classifier" in report["unused_reasons"]["fc.bias"]
    assert len(formats.read(tmp_path / "w.pkl")) == len(targets) - 1


def test_a_backbone_out_of_a_detector(tmp_path):
    formats.write(tmp_path / "d.pth", fill(SMALL))
    report = convert(tmp_path / "d.pth", tmp_path / "w.pkl", SMALL, "rtdetr", "backbone")
    assert set(formats.read(tmp_path / "w.pkl")) == {t.name for t in SMALL if t.name.startswith("backbone.")}
    assert set(report["unused_reasons"].values()) == {"not part of the backbone"}


def test_counters_that_old_files_lack_are_filled_and_noted(tmp_path):
    arrays = {name: array for name, array in fill(SMALL).items() if not name.endswith("num_batches_tracked")}
    formats.write(tmp_path / "a.pth", arrays)
    report = convert(tmp_path / "a.pth", tmp_path / "w.pkl", SMALL, "rtdetr")
    filled = [t.name for t in SMALL if t.name.endswith("num_batches_tracked")]
    assert list(report["filled"]) == filled and len(filled) > 50
    back = formats.read(tmp_path / "w.pkl")
    assert all(back[name].shape == () and back[name] == 0 and back[name].dtype == np.int64 for name in filled)


def test_tables_of_older_files_are_ignored_by_name(tmp_path):
    tables = {"decoder.anchors": np.zeros((1, 5, 4), np.float32), "encoder.pos_embed2": np.zeros(3, np.float32)}
    formats.write(tmp_path / "a.pth", {**fill(SMALL), **tables})
    report = convert(tmp_path / "a.pth", tmp_path / "w.pkl", SMALL, "rtdetr")
    assert report["unused_source"] == sorted(tables)


def test_scalars_as_vectors_of_one_are_reshaped_and_listed(tmp_path):
    targets = [TensorInfo("n", (), "int64", "buffer"), TensorInfo("w", (2,), "float32", "parameter")]
    formats.write(tmp_path / "a.pkl", {"n": np.array([4], np.int32), "w": np.ones(2, np.float16)})
    report = convert(tmp_path / "a.pkl", tmp_path / "b.pth", targets)
    assert [(row["source"], row["from"], row["to"]) for row in report["reshaped"]] == [("n", [1], [])]
    assert [(row["source"], row["from"], row["to"]) for row in report["recast"]] == [
        ("n", "int32", "int64"),
        ("w", "float16", "float32"),
    ]
    assert formats.read(tmp_path / "b.pth")["n"].shape == ()


ONE = {"w": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}
MODEL = [TensorInfo("w", (2, 3), "float32", "parameter"), TensorInfo("b", (2,), "float32", "parameter")]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (without(ONE, "b"), "lacks 1 of 2 tensors, e.g. b"),
        ({**ONE, "extra": np.ones(1)}, "1 tensors fit nowhere"),
        ({**ONE, "w": np.ones((3, 2), np.float32)}, r"w has shape \[3, 2\], w needs \[2, 3\]"),
        ({**ONE, "w": np.ones((2, 3), np.int64)}, "w is int64, w needs float32"),
        ({"x": np.ones(1)}, "lacks 2 of 2 tensors.*1 tensors of the file fit nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path, arrays, words):
    formats.write(tmp_path / "a.pth", arrays)
    with pytest.raises(UserError, match=words) as caught:
        convert(tmp_path / "a.pth", tmp_path / "w.safetensors", MODEL)
    assert "a.pth" in str(caught.value)
    assert_nothing_but(tmp_path, "a.pth")


def test_allowed_gaps_and_leftovers_are_listed(tmp_path):
    formats.write(tmp_path / "a.pth", {"w": ONE["w"], "extra.x": np.ones(1)})
    report = convert(tmp_path / "a.pth", tmp_path / "w.pkl", MODEL, allow_missing=["b"], allow_unused=["extra.*"])
    assert report["unfilled_target"] == ["b"] and report["unused_source"] == ["extra.x"]
    assert list(formats.read(tmp_path / "w.pkl")) == ["w"]


def test_patterns():
    assert allowed("decoder.head.weight", ["*.weight"]) and allowed("decoder.head.weight", [r"head\.(weight|bias)$"])
    assert not allowed("decoder.head.weight", ["*.bias", "encoder", "head"[::-1]])


def test_bad_files_end_with_status_2_one_line_and_no_output(tmp_path, capsys):
    witness = tmp_path / "witness"
    files = {"hostile.pth": payloads(witness)["os.system"], "hostile.pkl": payloads(witness)["eval"]}
    for name, payload in files.items():
        data = dump({"model": {"a": payload}})
        torch_zip(tmp_path / name, data) if name.endswith("pth") else (tmp_path / name).write_bytes(data)
    formats.write(tmp_path / "cut.safetensors", ONE)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-3])
    (tmp_path / "text.pkl").write_text("not a pickle")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in (*before, "missing.pth"):
        status, error = command("convert", "--input", tmp_path / name, "--output", tmp_path / "o.pth", capsys=capsys)
        assert status == 2 and error.count("\n") == 1 and name in error, name
    assert_nothing_but(tmp_path, *before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "w.onnx"], "expected one of .safetensors"),
        (["--output", "w.pth", "--variant", "r18vd"], "give --model too"),
        (["--output", "w.pth", "--model", "rtdetr", "--variant", "r19vd"], "r19vd"),
        (["--output", "w.pth", "--model", "yolo"], "yolo"),
        (["--output", "a.pth"], "is the input itself"),
        ([], "--output"),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    formats.write("a.pth", ONE)
    status, error = command("convert", "--input", "a.pth", *arguments, capsys=capsys)
    assert status == 2 and words in error and error.count("\n") == 1
    assert_nothing_but(tmp_path, "a.pth")


def test_another_number_of_classes_is_named(tmp_path, capsys):
    formats.write(tmp_path / "a.pth", fill(SMALL))
    arguments = ("--model", "rtdetr", "--variant", "r18vd", "--num-classes", 6)
    status, error = command(
        "convert", "--input", tmp_path / "a.pth", "--output", tmp_path / "w.pth", *arguments, capsys=capsys
    )
    assert status == 2 and "number of classes" in error
    assert_nothing_but(tmp_path, "a.pth")


def test_a_writer_that_lies_is_caught(tmp_path, monkeypatch):
    formats.write(tmp_path / "a.pth", ONE)
    honest = formats.write
    monkeypatch.setattr(
        "parity.weights.convert.write", lambda path, arrays, metadata: honest(path, {**arrays, "b": arrays["b"] + 1})
    )
    with pytest.raises(RuntimeError, match="does not come back"):
        convert(tmp_path / "a.pth", tmp_path / "w.pth", MODEL)
    assert_nothing_but(tmp_path, "a.pth")
