"""Every format: found by content, and read into the same record, as far as it says the same."""

import math

import generated_logs as generated
import pytest
from generated_logs import Truth

from parity.logs.read import read

NAMES = {
    "mmengine": "MMDetection text log",
    "mmcv": "MMDetection text log",
    "mmcv_json": "MMDetection JSON log",
    "mmengine_json": "MMDetection JSON log",
    "jittordet": "jittordet text log",
    "detr_log": "DETR / RT-DETR log.txt (JSON lines)",
    "detr_console": "DETR / RT-DETR console output",
    "nanodet": "NanoDet text log",
    "lightning_csv": "PyTorch Lightning metrics.csv",
    "plain_csv": "CSV with named columns",
    "json_lines": "JSON lines with named values",
    "own": "metrics.jsonl of this project",
    "key_values": "console output with named values",
    "progress_bar": "console output with named values",
    "tensorboard": "TensorBoard event file",
}
# what each format does not say; the rest must be read exactly
NO_STEPS = {"detr_log", "plain_csv"}
NO_TIME = {"detr_log", "plain_csv", "nanodet", "lightning_csv", "json_lines"}
NO_AR = {
    "mmcv_json",
    "mmengine_json",
    "lightning_csv",
    "plain_csv",
    "json_lines",
    "key_values",
    "progress_bar",
    "tensorboard",
}
ONLY_AP = {"lightning_csv"}
NO_STAMP = {
    "detr_log",
    "detr_console",
    "plain_csv",
    "mmcv_json",
    "mmengine_json",
    "lightning_csv",
    "json_lines",
    "own",
    "key_values",
    "progress_bar",
}


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


@pytest.fixture(scope="module", params=NAMES)
def made(request, truth, tmp_path_factory):
    """(name of the format, its run): the file's name says nothing about what is in it."""
    name, path = request.param, tmp_path_factory.mktemp("log") / "file"
    if name == "tensorboard":
        generated.events(truth, path)
        return name, read(str(path))
    lines = generated.progress_bar(truth) if name == "progress_bar" else generated.TEXT[name](truth)
    return name, read(generated.write(path, lines))


def test_format_is_found_by_content(made):
    name, run = made
    assert run.source.format == NAMES[name]
    assert (run.index, run.of) == (1, 1)
    assert not [note for note in run.notes if note.code in ("damaged", "restart", "repeated", "table differs")]


def test_losses_of_steps(made, truth):
    name, run = made
    if name in NO_STEPS:
        assert len(run.steps) == 0
        return
    expected = [step.loss for step in truth.steps]
    digits = 1e-4 if name == "nanodet" else 1e-6
    assert run.steps.column("loss") == pytest.approx(expected, rel=digits)
    if name != "key_values":
        assert run.steps.column("loss_cls") == pytest.approx([step.loss_cls for step in truth.steps], rel=1e-6)
    x = run.steps.column("x")
    assert x == [(s.epoch - 1) * truth.per_epoch + s.iteration for s in truth.steps]


def test_losses_of_epochs(made, truth):
    name, run = made
    if name == "lightning_csv":
        assert run.epochs.column("loss")[-1] > 0
        return
    assert run.epochs.column("loss") == pytest.approx([truth.mean(e) for e in (1, 2, 3)], rel=1e-4)


def test_learning_rate_and_time(made, truth):
    name, run = made
    if name not in NO_STEPS:
        assert [v for v in run.steps.column("lr") if not math.isnan(v)] == pytest.approx(
            [s.lr for s in truth.steps], rel=1e-6
        )
    if name in NO_TIME:
        assert "time" not in run.steps
    elif name != "jittordet":  # whose times are means since the start
        assert run.steps.column("time") == pytest.approx([s.time for s in truth.steps], rel=0.01)


def test_average_precision_and_recall(made, truth):
    name, run = made
    table = run.evaluations
    assert table.column("AP") == pytest.approx([m["AP"] for m in truth.metrics], abs=6e-4)
    if name not in ONLY_AP:
        assert table.column("AP50") == pytest.approx([m["AP50"] for m in truth.metrics], abs=6e-4)
    if name in NO_AR:
        assert "AR100" not in table
    else:
        for metric in ("AR1", "AR100", "ARl"):
            assert table.column(metric) == pytest.approx([m[metric] for m in truth.metrics], abs=6e-4)


def test_what_is_not_said_is_not_filled_in(made):
    name, run = made
    assert ("stamp" in run.steps) == (name not in NO_STAMP)
    assert run.fact("training images") is None
    if name in ("detr_log", "plain_csv", "nanodet", "jittordet", "tensorboard", "progress_bar"):
        assert run.fact("batch size") is None


@pytest.mark.parametrize(
    ("name", "fact", "value"),
    [
        ("mmengine", "batch size", 4),
        ("mmengine", "classes", 20),
        ("mmengine", "epochs planned", 3),
        ("mmengine", "GPU", "Tesla V100-SXM2-16GB"),
        ("mmengine", "iterations per epoch", 50),
        ("mmengine", "schedule", "MultiStepLR at [2] over 3 epochs"),
        ("mmengine", "base learning rate", 0.01),
        ("mmcv", "batch size", 4),
        ("mmcv", "PyTorch", "1.8.0"),
        ("mmcv", "epochs planned", 3),
        ("mmcv_json", "batch size", 4),
        ("mmcv_json", "seed", 7),
        ("mmcv_json", "GPU", "Tesla V100-SXM2-16GB"),
        ("jittordet", "Jittor", "1.3.9.14"),
        ("jittordet", "iterations per epoch", 50),
        ("detr_log", "parameters", 41302368),
        ("detr_console", "parameters", 41302368),
        ("detr_console", "batch size", 4),
        ("detr_console", "iterations per epoch", 50),
        ("nanodet", "epochs planned", 3),
    ],
)
def test_facts(name, fact, value, truth, tmp_path):
    run = read(generated.write(tmp_path / "x", generated.TEXT[name](truth)))
    assert run.fact(fact) == value
    assert run.facts[fact].line > 0


def test_classes_of_nanodet(truth, tmp_path):
    run = read(generated.write(tmp_path / "x", generated.nanodet(truth)))
    assert {name: value[:2] for name, value in run.classes.items()} == {
        "person": (63.8, 35.9),
        "bicycle": (36.6, 17.4),
        "car": (50.1, 27.2),
    }


def test_times_of_epochs_and_of_evaluation(truth, tmp_path):
    run = read(generated.write(tmp_path / "x", generated.detr_console(truth)))
    assert run.epochs.column("train_s") == [11, 12, 13]
    assert run.inference.column("time") == [0.1] * 3
    own = read(generated.write(tmp_path / "y", generated.own(truth)))
    assert own.epochs.column("train_s") == [11, 12, 13]


def test_jittordet_tables_that_arrive_late_are_taken_in_order(truth, tmp_path):
    run = read(generated.write(tmp_path / "x", generated.jittordet(truth)))
    assert [note.code for note in run.notes] == ["tables in order"]
    lines = generated.jittordet(truth)
    fewer = read(generated.write(tmp_path / "y", lines[:-12]))  # a table short: nobody can say which
    assert [note.code for note in fewer.notes] == ["tables unclaimed"]
    assert "AR100" not in fewer.evaluations


def test_validation_losses_are_no_training_losses(truth, tmp_path):
    run = read(generated.write(tmp_path / "x", generated.detr_log(truth)))
    assert run.epochs.column("val loss") == pytest.approx([2 * truth.mean(e) for e in (1, 2, 3)])
    assert not [name for name in run.losses() if "unscaled" in name or name.startswith("val")]
