"""TensorBoard events of a run: names, steps, values and pictures, read back; and that nothing else depends on them."""

import io
import json

import numpy as np
import pytest
from numpy_framework import NumpyFramework
from PIL import Image
from small_run import make_dataset, make_run

from parity.config.run import RunConfig, checked_run
from parity.errors import UserError
from parity.events import packed, records
from parity.train import checkpoint, engine
from parity.train.board import PICTURE
from parity.train.record import read_metrics
from parity.weights import formats


@pytest.fixture
def run(tmp_path):
    box = np.array([0.15, 0.125, 0.65, 0.625], np.float32)  # near the squares, so that AP is not 0
    arrays = {"box.weight": box, "score.weight": np.array([0.4, 0.3], np.float32)}
    formats.write(tmp_path / "init.safetensors", arrays | {"norm.running_mean": np.zeros(2, np.float32)})
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors")
    return run | {"train": run["train"] | {"tensorboard": True}}


def events(folder):
    """The events of the only file of a run's folder."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = (folder / "tensorboard").iterdir()
    return [Event.FromString(payload) for payload in records(path)]


def scalars(folder):
    """{tag: {step: value}} of a run's folder; every point stands there once."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                points = found.setdefault(value.tag, {})
                assert event.step not in points, (value.tag, event.step)
                points[event.step] = value.simple_value
    return found


def pictures(folder):
    """{step: picture} of a run's folder."""
    values = [(event.step, value) for event in events(folder) for value in event.summary.value if value.tag == PICTURE]
    return {step: Image.open(io.BytesIO(value.image.encoded_image_string)) for step, value in values}


def without_times(found):
    return {tag: points for tag, points in found.items() if "time" not in tag and "memory" not in tag}


def test_the_events_say_what_the_metrics_say(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    found = scalars(tmp_path / "run")
    assert set(found) == {
        "train/loss", "train/loss_box", "train/loss_score", "train/grad_norm", "train/clip", "lr/group_0", "lr/group_1",
        "time/data", "time/forward_backward", "time/optimizer", "time/step", "epoch", "epoch_time/train",
        "epoch_time/evaluate", "memory/peak_mb", "val/AP", "val/AP50", "val/AP75", "val/APs", "val/AR1", "val/AR10",
        "val/AR100", "val/ARs",
    }  # fmt: skip
    lines = read_metrics(tmp_path / "run/metrics.jsonl")
    steps, epochs = ([line for line in lines if line["kind"] == kind] for kind in ("step", "epoch"))
    assert len(steps) == 9 and len(epochs) == 3
    for line in steps:
        for tag, value in (("train/loss", line["total"]), ("train/loss_box", line["losses"]["loss_box"])):
            assert found[tag][line["step"]] == pytest.approx(value, rel=1e-6)
        assert found["lr/group_1"][line["step"]] == pytest.approx(line["lr"][1], rel=1e-6)
        assert found["train/grad_norm"][line["step"]] == pytest.approx(line["grad_norm"], rel=1e-6)
    assert found["epoch"] == {3: 1, 6: 2, 9: 3}
    aps = {3 * line["epoch"]: pytest.approx(line["metrics"]["AP"], rel=1e-6) for line in epochs}
    assert found["val/AP"] == aps and min(found["val/AP"].values()) > 0.05 and len(found["train/clip"]) == 9


def test_every_validation_leaves_a_picture(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    found = pictures(tmp_path / "run")
    assert list(found) == [3, 6, 9]
    assert {picture.size for picture in found.values()} == {
        (2 * 320 + 4, 4 * 256 + 3 * 4)
    }  # four images of 40 x 32, twice each
    pixels = np.asarray(found[9].convert("RGB")).astype(int)
    assert np.abs(pixels[:256, :320] - pixels[:256, 324:]).mean() > 1  # the object, and what was detected


def test_nothing_else_depends_on_it(run, tmp_path):
    plain = run | {"train": {key: value for key, value in run["train"].items() if key != "tensorboard"}}
    first, second = (
        engine.train(RunConfig(**each), NumpyFramework(), tmp_path / name)
        for each, name in ((run, "with"), (plain, "without"))
    )
    assert not (tmp_path / "without/tensorboard").exists()
    for name in ("last.safetensors", "ema.safetensors", "best.safetensors", "coco.json", "detections.json"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    assert first["config_digest"] == second["config_digest"] and first["observed"] == second["observed"]
    states = [checkpoint.read(tmp_path / name) for name in ("with", "without")]
    assert states[0].config == states[1].config and states[0].position.notes == states[1].position.notes
    for part, arrays in states[0].parts.items():
        assert arrays and all(np.array_equal(states[1].parts[part][name], array) for name, array in arrays.items())


class Killed(NumpyFramework):
    """Ends in the middle of epoch 2, or after the steps of epoch 2, in its validation."""

    at = 4

    def optimizer_step(self, lrs, clip_norm):
        if self.steps == self.at:
            raise KeyboardInterrupt
        return super().optimizer_step(lrs, clip_norm)

    def postprocess(self, outputs, inputs):
        if self.steps == self.at == 6:
            raise KeyboardInterrupt
        return super().postprocess(outputs, inputs)


@pytest.mark.parametrize(("at", "minutes"), [(2, 1e-9), (4, 0), (6, 1e-9)])
def test_a_killed_run_ends_with_the_events_of_one_that_nobody_killed(run, tmp_path, at, minutes):
    run["checkpoint_minutes"] = minutes
    run["train"]["evaluate_first"] = True
    broken = Killed()
    broken.at = at
    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**run), broken, tmp_path / "parts")
    (torn,) = (tmp_path / "parts/tensorboard").iterdir()
    torn.write_bytes(torn.read_bytes() + packed(b"half of a record")[:20])
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "parts")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    found = [without_times(scalars(tmp_path / name)) for name in ("parts", "whole")]
    assert found[0] == found[1] and found[0]["epoch"] == {0: 0, 3: 1, 6: 2, 9: 3}
    drawn = [pictures(tmp_path / name) for name in ("parts", "whole")]
    assert list(drawn[0]) == list(drawn[1]) == [0, 3, 6, 9]
    assert all(np.array_equal(np.asarray(drawn[0][step]), np.asarray(drawn[1][step])) for step in drawn[0])


def test_epochs_that_are_not_validated_have_no_picture(run, tmp_path):
    run["train"]["eval_every"] = 2
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    assert list(pictures(tmp_path / "run")) == [6, 9] == list(scalars(tmp_path / "run")["val/AP"])


def test_our_own_reader_of_logs_understands_the_events(run, tmp_path):
    from parity.logs.read import read

    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    log = read(str(tmp_path / "run/tensorboard"))
    lines = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "epoch"]
    assert log.evaluations.column("AP") == pytest.approx([line["metrics"]["AP"] for line in lines])
    assert log.evaluations.column("epoch") == [1, 2, 3] and log.steps.column("step") == list(range(1, 10))
    assert {"loss", "loss_box", "lr", "grad_norm", "time"} <= set(log.steps.names())


@pytest.mark.parametrize("value", ["often", 3, None])
def test_a_wrong_value_is_refused_in_one_line(run, value):
    run["train"]["tensorboard"] = value
    with pytest.raises(UserError, match=r"^run\.yaml: train\.tensorboard: .*true or false[^\n]*$"):
        checked_run(run, "run.yaml")


def test_a_validation_image_that_is_gone_is_named_at_the_start(run, tmp_path):
    (tmp_path / "data/images/val/102.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"102\.png: cannot be read as an image"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


def test_a_dataset_without_objects_is_drawn_too(run, tmp_path):
    annotations = tmp_path / "data/annotations/val.json"
    annotations.write_text(json.dumps(json.loads(annotations.read_text()) | {"annotations": []}))
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    assert len(pictures(tmp_path / "run")) == 3
