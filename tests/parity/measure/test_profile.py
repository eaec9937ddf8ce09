"""The verb `profile`: how many samples it takes, what it records beside them, and that nothing is left half written."""

import argparse
import signal
import time

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.files import read_json
from parity.measure import profile
from parity.weights import formats


@pytest.fixture
def arguments(tmp_path):
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.zeros(2, np.float32)}
    file = tmp_path / "init.safetensors"
    formats.write(file, arrays | {"norm.running_mean": np.zeros(2, np.float32)})
    run = make_run(make_dataset(tmp_path / "data"), file)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    parser = argparse.ArgumentParser()
    profile.add_arguments(parser)
    files = ["--config", str(tmp_path / "run.yaml"), "--weights", str(file), "--out", str(tmp_path / "profile.json")]
    return lambda *more: parser.parse_args([*files, *more])


@pytest.mark.parametrize(("images", "looks"), [(3, 3), (45, 11)])
def test_every_sample_is_kept_and_the_machine_looked_at_in_between(arguments, tmp_path, images, looks):
    profile.run(arguments("--images", str(images), "--steps", "3", "--warmup", "1"), NumpyFramework)
    found = read_json(tmp_path / "profile.json")
    assert {stage: len(times) for stage, times in found["latency"].items()} == dict.fromkeys(
        ("preprocess", "forward", "postprocess", "total"), images
    )
    for key in ("data", "forward_backward", "optimizer", "step"):
        assert len(found["train"][key]) == 3
    parts = zip(*(found["latency"][stage] for stage in ("preprocess", "forward", "postprocess")), strict=True)
    assert found["latency"]["total"] == pytest.approx([sum(stages) for stages in parts], abs=2e-7)
    assert {section: len(times) for section, times in found["machine"].items()} == {"latency": looks, "train": 3}
    assert min(found["machine"]["latency"]) > 0 and set(found["others"]) == {"latency", "train"}
    assert found["parameters"] == {"trainable": 6, "total": 6, "with_buffers": 8}
    assert found["input"][0] == 1 and found["setting"] == "numpy"
    assert found["first"].keys() == {"import", "build", "forward", "step", "second_step"}


def test_what_fails_leaves_no_profile(arguments, tmp_path):
    class Broken(NumpyFramework):
        def postprocess(self, outputs, inputs):
            raise ValueError("no such detections")

    with pytest.raises(ValueError, match="no such detections"):
        profile.run(arguments("--images", "2", "--steps", "1"), Broken)
    assert not (tmp_path / "profile.json").exists()


class Compiling(NumpyFramework):
    """Takes the options of a compiled measurement, and `delay` seconds (a class attribute) to build a model."""

    delay = 0.0

    def build(self, model, options):
        time.sleep(self.delay)
        super().build(model, options)


def test_a_model_that_is_not_compiled_in_time_is_said_to_be_and_later_processes_do_not_try_again(arguments, tmp_path):
    class Slow(Compiling):
        delay = 30.0

    begun = time.monotonic()
    few = ("--images", "2", "--steps", "1", "--warmup", "1", "--setting", "torch-compile", "--compile")
    profile.run(arguments(*few, "--compile-seconds", "1"), Slow)
    expected = {"setting": "torch-compile", "uncompiled": "not compiled and measured within 1 seconds"}
    assert read_json(tmp_path / "profile.json") == expected
    (tmp_path / "profile.json").rename(tmp_path / "first.json")
    profile.run(arguments(*few, "--as", str(tmp_path / "first.json")), Slow)
    assert read_json(tmp_path / "profile.json") == expected
    assert time.monotonic() - begun < 20


def test_a_model_that_compiles_in_time_is_measured_and_no_alarm_is_left(arguments, tmp_path):
    few = ("--images", "2", "--steps", "1", "--warmup", "1", "--compile", "--compile-seconds", "60")
    profile.run(arguments(*few), Compiling)
    assert len(read_json(tmp_path / "profile.json")["latency"]["total"]) == 2
    assert signal.alarm(0) == 0


def test_why_a_model_cannot_be_compiled_is_kept(arguments, tmp_path):
    class Refusing(NumpyFramework):
        def build(self, model, options):
            raise RuntimeError("no kernel for this operator\nand a long trace")

    profile.run(arguments("--images", "2", "--steps", "1", "--compile"), Refusing)
    assert read_json(tmp_path / "profile.json")["uncompiled"] == "RuntimeError: no kernel for this operator"
