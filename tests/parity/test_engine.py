"""The training loop, driven by a framework small enough to check by hand."""

import json

import numpy as np
import pytest
from numpy_framework import NumpyFramework
from PIL import Image

from parity import checkpoint, engine, weights
from parity.errors import UserError
from parity.record import read_metrics


@pytest.fixture
def dataset(tmp_path):
    """Twelve training and four validation images of one square each."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    splits = {}
    for split, start, count in (("train", 1, 12), ("val", 101, 4)):
        (root / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(start, start + count):
            Image.fromarray(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(root / f"images/{split}/{i}.png")
            images.append({"id": i, "file_name": f"{i}.png", "width": 40, "height": 32})
            box = {"bbox": [5 + i % 3, 4, 20, 16], "area": 320, "iscrowd": 0}
            annotations.append({"id": i, "image_id": i, "category_id": 1 + i % 2, **box})
        categories = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
        (root / "annotations").mkdir(exist_ok=True)
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/{split}.json").write_text(json.dumps(document))
        splits[split] = {"images": count}
    classes = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
    (root / "manifest.json").write_text(json.dumps({"classes": classes, "splits": splits, "digest": "d"}))
    return root


@pytest.fixture
def run(dataset, tmp_path):
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.zeros(2, np.float32)}
    weights.write(tmp_path / "init.safetensors", arrays | {"norm.running_mean": np.zeros(2, np.float32)})
    return {
        "model": "numpy",
        "variant": "tiny",
        "framework": "numpy",
        "seed": 3,
        "options": {"num_classes": 2, "loss_weights": {"box": 1.0}},
        "groups": [{"pattern": "score", "lr": 0.01}],
        "label_space": "contiguous",
        "preprocess": {"kind": "square", "size": 32},
        "train": {
            "epochs": 3,
            "batch_size": 4,
            "accumulate": 1,
            "clip_norm": 0.5,
            "optimizer": {"kind": "SGD", "lr": 0.1, "weight_decay": 0.0},
            "schedule": {"kind": "cosine", "warmup_steps": 2, "warmup_factor": 0.1, "final_factor": 0.1},
            "ema": {"decay": 0.9, "warmups": 5},
            "evaluate_with_ema": True,
            "multi_scale": [],
            "augment": {"flip": 0.5},
            "eval_every": 1,
        },
        "evaluate": {"max_detections": 100, "batch_size": 4, "score_threshold": 0.0},
        "data": {"id": "squares", "root": str(dataset), "num_classes": 2},
        "weights": str(tmp_path / "init.safetensors"),
        "device": "cpu",
        "threads": 1,
        "precision": "float32",
        "framework_options": {},
        "workers": 0,
        "log_seconds": 60,
    }


def without_times(line):
    return {key: value for key, value in line.items() if key not in ("seconds", "peak_memory_mb")}


def test_a_run_learns_and_leaves_everything_behind(run, tmp_path):
    record = engine.train(run, NumpyFramework(), tmp_path / "run")
    lines = read_metrics(tmp_path / "run/metrics.jsonl")
    steps, epochs = ([line for line in lines if line["kind"] == kind] for kind in ("step", "epoch"))
    assert [s["step"] for s in steps] == list(range(1, 10)) and [e["epoch"] for e in epochs] == [1, 2, 3]
    assert epochs[-1]["total"] < 0.7 * epochs[0]["total"]
    assert epochs[0]["total"] == pytest.approx(np.mean([s["total"] for s in steps[:3]]))
    assert steps[0]["lr"][0] == pytest.approx(0.01 * 0.1) and len(steps[0]["lr"]) == 2
    assert record["final_weights"] == "ema.safetensors" and record["lr_steps"] == 9 and record["train_images"] == 12
    assert len(record["batches_sha256"]) == 3 and len(set(record["batches_sha256"])) == 3
    assert record["parameters"] == {"trainable": 6, "total": 6, "with_buffers": 8}
    names = {"last.safetensors", "ema.safetensors", "run.json", "detections.json", "coco.json"}
    assert names <= {path.name for path in (tmp_path / "run").iterdir()}
    assert len(json.loads((tmp_path / "run/detections.json").read_text())) == 4


def test_an_interrupted_run_ends_with_the_same_bits(run, tmp_path):
    whole = NumpyFramework()
    engine.train(run, whole, tmp_path / "whole")

    class Killed(NumpyFramework):
        def optimizer_step(self, lrs, clip_norm):
            if self.steps == 4:  # in the middle of epoch 2
                raise KeyboardInterrupt
            return super().optimizer_step(lrs, clip_norm)

    with pytest.raises(KeyboardInterrupt):
        engine.train(run, Killed(), tmp_path / "parts")
    rest = NumpyFramework()
    engine.train(run, rest, tmp_path / "parts")
    assert len(rest.seen) == 6 and rest.seen == whole.seen[3:]
    for name in ("last", "ema", "best"):
        files = [weights.read(tmp_path / f"{where}/{name}.safetensors") for where in ("whole", "parts")]
        assert all(np.array_equal(files[0][key], files[1][key]) for key in files[0])
    lines = [[without_times(m) for m in read_metrics(tmp_path / f"{w}/metrics.jsonl")] for w in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_a_checkpoint_of_another_configuration_is_refused(run, tmp_path):
    engine.train(run, NumpyFramework(), tmp_path / "run")
    run["train"]["optimizer"]["lr"] = 0.2
    with pytest.raises(UserError, match="another configuration"):
        engine.train(run, NumpyFramework(), tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over(run, tmp_path):
    engine.train(run, NumpyFramework(), tmp_path / "run")
    newest = sorted((tmp_path / "run/checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    parts, position = checkpoint.load_newest(tmp_path / "run/checkpoints", engine._resume_digest(run))
    assert position["epoch"] == 2 and position["step"] == 6 and set(parts["model"]) == set(parts["ema"])


def test_accumulation_takes_one_step_from_several_batches(run, tmp_path):
    run["train"] |= {"batch_size": 2, "accumulate": 3, "epochs": 1}
    engine.train(run, NumpyFramework(), tmp_path / "run")
    steps = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "step"]
    assert len(steps) == 2 and steps[0]["images"] == 6


def test_a_loss_that_is_not_finite_names_step_and_images(run, tmp_path):
    class Broken(NumpyFramework):
        def forward_backward(self, *args, **kwargs):
            result = super().forward_backward(*args, **kwargs)
            result.total = float("nan") if len(self.seen) == 5 else result.total
            return result

    with pytest.raises(UserError, match=r"loss is nan at epoch 2, step 5, images \["):
        engine.train(run, Broken(), tmp_path / "run")


def test_the_number_of_classes_must_be_the_configured_one(run, tmp_path):
    run["data"]["num_classes"] = 3
    with pytest.raises(UserError, match=r"has 2 classes, the configuration says data\.num_classes 3"):
        engine.train(run, NumpyFramework(), tmp_path / "run")
