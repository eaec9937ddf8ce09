"""The training loop, driven by a framework small enough to check by hand."""

import argparse
import json
import os
import shlex
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.align import trace
from parity.config.run import RunConfig
from parity.data.draws import StoredDraws
from parity.errors import UserError
from parity.files import locked
from parity.train import engine
from parity.train.record import MetricsLog, read_metrics
from parity.weights import formats


@pytest.fixture
def run(tmp_path):
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.zeros(2, np.float32)}
    formats.write(tmp_path / "init.safetensors", arrays | {"norm.running_mean": np.zeros(2, np.float32)})
    return make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors")


def without_times(line):
    return {key: value for key, value in line.items() if key not in ("seconds", "peak_memory_mb")}


def test_a_run_learns_and_leaves_everything_behind(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PARITY_RESTARTS", "2")
    record = engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    lines = read_metrics(tmp_path / "run/metrics.jsonl")
    steps, epochs = ([line for line in lines if line["kind"] == kind] for kind in ("step", "epoch"))
    assert [s["step"] for s in steps] == list(range(1, 10)) and [e["epoch"] for e in epochs] == [1, 2, 3]
    assert epochs[-1]["total"] < 0.7 * epochs[0]["total"]
    assert epochs[0]["total"] == pytest.approx(np.mean([s["total"] for s in steps[:3]]))
    assert steps[0]["lr"][0] == pytest.approx(0.01 * 0.1) and len(steps[0]["lr"]) == 2
    assert record["final_weights"] == "ema.safetensors" and record["lr_steps"] == 9 and record["train_images"] == 12
    assert {name: record["observed"][name]["count"] for name in ("batches", "rates", "validation")} == {
        "batches": 9, "rates": 9, "validation": 1
    }  # fmt: skip
    assert record["parameters"] == {"trainable": 6, "total": 6, "with_buffers": 8} and record["restarts"] == 2
    names = {"last.safetensors", "ema.safetensors", "run.json", "detections.json", "coco.json"}
    assert names <= {path.name for path in (tmp_path / "run").iterdir()}
    assert len(json.loads((tmp_path / "run/detections.json").read_text())) == 4


def test_the_untrained_weights_are_validated_as_epoch_0(run, tmp_path):
    idle = {"kind": "SGD", "lr": 1e-9, "weight_decay": 0.0}  # nothing is learnt: the first weights stay the best ones
    run["train"] = run["train"] | {"evaluate_first": True, "optimizer": idle}
    record = engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    epochs = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [0, 1, 2, 3] and epochs[0]["metrics"]["AP"] is not None
    assert epochs[0]["total"] is None and epochs[0]["seconds"]["train"] == 0 < epochs[0]["seconds"]["evaluate"]
    assert record["best_epoch"] == 0
    best, initial = (formats.read(tmp_path / name) for name in ("run/best.safetensors", "init.safetensors"))
    assert all(np.array_equal(best[name], initial[name]) for name in initial)


@pytest.mark.parametrize("minutes", [0, 1e-9])
def test_epoch_0_survives_an_interruption(run, tmp_path, minutes):
    """Killed before the first checkpoint it is validated again, killed later it is not; it stands there once."""
    run["train"] = run["train"] | {"evaluate_first": True}
    run["checkpoint_minutes"] = minutes
    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**run), KilledAtOnce(), tmp_path / "parts")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "parts")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    lines = [[without_times(m) for m in read_metrics(tmp_path / f"{w}/metrics.jsonl")] for w in ("whole", "parts")]
    assert lines[0] == lines[1] and [m["epoch"] for m in lines[1] if m["kind"] == "epoch"] == [0, 1, 2, 3]


class Killed(NumpyFramework):
    """Ends in the middle of epoch 2."""

    def optimizer_step(self, lrs, clip_norm):
        if self.steps == 4:
            raise KeyboardInterrupt
        return super().optimizer_step(lrs, clip_norm)


class KilledAtOnce(NumpyFramework):
    """Ends in the middle of epoch 1."""

    def optimizer_step(self, lrs, clip_norm):
        if self.steps == 2:
            raise KeyboardInterrupt
        return super().optimizer_step(lrs, clip_norm)


@pytest.mark.parametrize(("minutes", "repeated"), [(0, 6), (1e-9, 5)])
def test_an_interrupted_run_goes_on_from_its_newest_checkpoint(run, tmp_path, minutes, repeated):
    whole, rest = NumpyFramework(), NumpyFramework()
    run["checkpoint_minutes"] = minutes
    engine.train(RunConfig(**run), whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**run), Killed(), tmp_path / "parts")
    engine.train(RunConfig(**run), rest, tmp_path / "parts")
    assert len(rest.seen) == repeated and rest.seen == whole.seen[-repeated:]
    for name in ("last", "ema", "best"):
        files = [formats.read(tmp_path / f"{where}/{name}.safetensors") for where in ("whole", "parts")]
        assert all(np.array_equal(files[0][key], files[1][key]) for key in files[0])
    lines = [[without_times(m) for m in read_metrics(tmp_path / f"{w}/metrics.jsonl")] for w in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_checkpoints_between_epochs_stay_few(run, tmp_path):
    run |= {"checkpoint_minutes": 1e-9, "keep_checkpoints": 3}
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    names = [path.name for path in sorted((tmp_path / "run/checkpoints").iterdir())]
    assert names == [f"step-0000000{n}.safetensors" for n in (7, 8, 9)]


def test_accumulated_steps_go_on_at_their_own_batch(run, tmp_path):
    run["train"] |= {"batch_size": 1, "accumulate": 3}
    run["checkpoint_minutes"] = 1e-9
    whole, rest = NumpyFramework(), NumpyFramework()
    engine.train(RunConfig(**run), whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**run), Killed(), tmp_path / "parts")
    engine.train(RunConfig(**run), rest, tmp_path / "parts")
    assert rest.seen == whole.seen[12:]


def test_a_checkpoint_of_another_configuration_is_refused_by_its_key(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    run["train"]["optimizer"] = {"kind": "SGD", "lr": 0.2, "weight_decay": 0.0}
    with pytest.raises(UserError, match=r"another configuration: train\.optimizer\.lr is 0\.1 there, 0\.2 here$"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


def test_more_epochs_go_on_where_the_learning_rates_allow_it(run, tmp_path):
    run["train"]["schedule"] = {"kind": "multistep", "milestones": [2], "gamma": 0.1}
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "longer")
    run["train"]["epochs"] = 4
    engine.train(RunConfig(**run), rest := NumpyFramework(), tmp_path / "longer")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    assert len(rest.seen) == 3
    first, second = (formats.read(tmp_path / f"{where}/last.safetensors") for where in ("longer", "whole"))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_cosine_schedule_cannot_be_extended(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    run["train"]["epochs"] = 4
    with pytest.raises(UserError, match=r"epochs is 3 there, 4 here, and with it the learning rates of the 9 steps"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


def test_a_run_cannot_become_shorter_than_it_is(run, tmp_path):
    run["train"]["schedule"] = {"kind": "constant"}
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    run["train"]["epochs"] = 2
    with pytest.raises(UserError, match=r"stands at step 9, but the run ends at 6: train\.epochs"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "older"])
def test_a_damaged_checkpoint_is_set_aside_and_said(run, tmp_path, capsys, damage):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    newest = sorted((tmp_path / "run/checkpoints").glob("*.safetensors"))[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    if damage == "older":
        formats.write(newest, formats.read(newest), {"position": "{}"})
    else:
        newest.write_bytes({"cut": data[:100], "flipped": data, "empty": b""}[damage])
    before = (tmp_path / "run/coco.json").read_bytes()
    capsys.readouterr()
    engine.train(RunConfig(**run), rest := NumpyFramework(), tmp_path / "run")
    said = capsys.readouterr().err
    assert "step-00000009.safetensors: is damaged" in said and "continues after epoch 2, step 6" in said
    assert len(rest.seen) == 3 and (tmp_path / "run/coco.json").read_bytes() == before
    assert (tmp_path / "run/checkpoints/step-00000009.safetensors.damaged").exists() and newest.exists()


def test_metrics_that_are_gone_are_not_made_up(run, tmp_path):
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").unlink()
    with pytest.raises(UserError, match=r"metrics\.jsonl: has 0 of the 9 step lines before the checkpoint"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


def test_a_damaged_end_of_the_metrics_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind": "step", "step": 1, "total": 0.1}\n\0\0\0\n{"kind": "step", "step": 2}\n')
    with pytest.raises(UserError, match=r"line 2 is not valid JSON"):
        read_metrics(path)
    MetricsLog(path, keep_steps=1).close()
    assert read_metrics(path) == [{"kind": "step", "step": 1, "total": 0.1}]


def test_what_was_left_without_outputs_is_evaluated_again(run, tmp_path):
    """Snakemake removes the outputs of a job that was cut short, the last checkpoint stays."""
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    outputs = {name: (tmp_path / "run" / name).read_bytes() for name in ("coco.json", "detections.json")}
    for name in outputs:
        (tmp_path / "run" / name).unlink()
    engine.train(RunConfig(**run), rest := NumpyFramework(), tmp_path / "run")
    assert rest.seen == [] and all((tmp_path / "run" / name).read_bytes() == outputs[name] for name in outputs)


def test_two_trainings_in_one_folder_are_refused(run, tmp_path):
    ready, taken = os.pipe()
    first = os.fork()
    if first == 0:  # a training with a child of its own, as compilers are
        with locked(tmp_path / "run"):
            child = os.fork()
            if child:
                os.write(taken, f"{child}\n".encode())
            time.sleep(60)
        os._exit(0)
    child = int(os.read(ready, 20))
    with pytest.raises(UserError, match=rf"run: another training is at work here \(process {first}\)"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock"]
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")  # neither the file nor the orphan means anything
    os.kill(child, signal.SIGKILL)


def test_what_a_killed_writer_left_is_swept_away(run, tmp_path):
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    left = tmp_path / "run/checkpoints/.step-00000001.safetensors.123.tmp.safetensors"
    left.write_bytes(b"half")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    assert not left.exists()


def test_accumulation_takes_one_step_from_several_batches(run, tmp_path):
    run["train"] |= {"batch_size": 2, "accumulate": 3, "epochs": 1}
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    steps = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "step"]
    assert len(steps) == 2 and steps[0]["images"] == 6


class Broken(NumpyFramework):
    """Its box layer overflows at the fifth batch; `refuses` makes the loss raise, as a matching does."""

    refuses = False

    def forward_backward(self, *args, **kwargs):
        result = super().forward_backward(*args, **kwargs)
        if len(self.seen) >= 5:
            if self.refuses:
                raise ValueError("matrix contains invalid numeric entries")
            result.total = result.losses["loss_box"] = float("nan")
        return result

    @contextmanager
    def record_layers(self, inputs=False, feed=None):
        yield {"stem": np.ones(2), "encoder.layer": np.array([1.0, np.inf]), "box": np.array([np.nan])}


@pytest.mark.parametrize("refuses", [False, True])
def test_a_loss_that_is_no_number_leaves_a_reproducer(run, tmp_path, refuses):
    framework = Broken()
    framework.refuses = refuses
    run |= {"model": "rtdetr", "options": {"num_classes": 2, "num_queries": 21}}
    where = r"at epoch 2, step 5, images \[\d+, \d+, \d+, \d+\]: first in the output of module encoder.layer; the step"
    with pytest.raises(UserError, match=where):
        engine.train(RunConfig(**run), framework, tmp_path / "run")
    kept = tmp_path / "run/not_finite"
    words = shlex.split((kept / "command.txt").read_text())
    assert words[:4] == ["python", "-m", "numpy_impl", "trace"] and {"epoch=1", "num_queries=21"} <= set(words)
    batch, draws = trace.read_inputs(kept / "inputs.npz", train=True, num_classes=2)
    assert len(batch.images) == 4 and [d.shape for d in draws] == [(4,)]

    parser = argparse.ArgumentParser()
    trace.add_arguments(parser)
    trace.run(parser.parse_args(words[4:]), NumpyFramework)
    with np.load(kept / "trace.npz") as traced:
        healthy = NumpyFramework()
        healthy.build("rtdetr", {"num_classes": 2})
        healthy.load_state(formats.read(kept / "weights.safetensors"))
        assert traced["total"] == np.float32(healthy.forward_backward(batch, StoredDraws(draws), 1).total)


def test_weights_that_are_no_numbers_are_named(run, tmp_path):
    class Overflowed(NumpyFramework):
        def optimizer_step(self, lrs, clip_norm):
            result = super().optimizer_step(lrs, clip_norm)
            self.values["score.weight"][1] = np.inf
            return result

    run["model"] = "rtdetr"
    with pytest.raises(UserError, match=r"loss is inf at .* step 2, .*: the weights were none .* score\.weight"):
        engine.train(RunConfig(**run), Overflowed(), tmp_path / "run")


def test_a_gradient_that_is_no_number_stops_the_run(run, tmp_path):
    class Overflowing(NumpyFramework):
        def optimizer_step(self, lrs, clip_norm):
            norm, clip = super().optimizer_step(lrs, clip_norm)
            return (float("inf") if self.steps == 4 else norm), clip

    with pytest.raises(UserError, match=r"gradient norm is inf at epoch 2, step 4, images \["):
        engine.train(RunConfig(**run), Overflowing(), tmp_path / "run")
    engine.train(RunConfig(**run), rest := NumpyFramework(), tmp_path / "run")
    assert len(rest.seen) == 6


def test_any_other_failure_of_a_step_keeps_its_traceback(run, tmp_path):
    class Buggy(NumpyFramework):
        def forward_backward(self, *args, **kwargs):
            raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        engine.train(RunConfig(**run), Buggy(), tmp_path / "run")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("[f 1120] GPU memory is overflow, please reduce your batch_size or data size!"),
    ],
)
def test_running_out_of_memory_gives_the_batch_size_and_a_way_out(run, tmp_path, error):
    class Large(NumpyFramework):
        def forward_backward(self, *args, **kwargs):
            raise error

        def postprocess(self, outputs, inputs):
            raise error

    advice = r"step 1: train\.batch_size is 4, images are 32 x 32; try train\.batch_size 2 with train\.accumulate 2 \("
    with pytest.raises(UserError, match=f"out of memory in {advice}"):
        engine.train(RunConfig(**run), Large(), tmp_path / "run")
    Large.forward_backward = NumpyFramework.forward_backward
    with pytest.raises(UserError, match=r"out of memory in the evaluation: evaluate\.batch_size is 4"):
        engine.train(RunConfig(**run), Large(), tmp_path / "run")


def test_a_batch_without_any_object_is_an_ordinary_batch(run, tmp_path):
    annotations = tmp_path / "data/annotations/train.json"
    annotations.write_text(json.dumps(json.loads(annotations.read_text()) | {"annotations": []}))
    record = engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
    assert record["finished"] and len(read_metrics(tmp_path / "run/metrics.jsonl")) == 12


def test_two_runs_of_one_configuration_are_the_same_bits(run, tmp_path):
    for name in ("first", "second"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / name)
    for name in ("last.safetensors", "ema.safetensors", "coco.json", "detections.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_long_run_leaks_no_file_and_no_thread(run, tmp_path):
    run["train"] |= {"epochs": 667, "eval_every": 100}  # 2,001 steps
    run["workers"] = 2
    counts = []

    class Counting(NumpyFramework):
        def update_ema(self, decay):
            super().update_ema(decay)
            if self.steps % 400 == 0:
                counts.append((len(os.listdir("/proc/self/fd")), threading.active_count()))

    engine.train(RunConfig(**run), Counting(), tmp_path / "run")
    assert len(counts) == 5 and len(set(counts)) == 1, counts


def test_the_number_of_classes_must_be_the_configured_one(run, tmp_path):
    run["data"]["num_classes"] = 3
    with pytest.raises(UserError, match=r"has 2 classes, the configuration says data\.num_classes 3"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")
