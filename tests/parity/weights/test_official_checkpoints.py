"""Checkpoints as the four authors' training scripts write them: the right weights are found, and all of them are used.

The names are those of the official models, the tensors are narrower. Beside the weights stands what the scripts keep.
"""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hostile import dump
from official_keys import KeysOnly, fill, small

from parity import cli
from parity.framework import TensorInfo
from parity.weights import formats

GOLDEN = Path(__file__).parents[2] / "golden"
VARIANTS = {
    "rtdetr": ("r18vd", "rtdetr_r18vd", 80),
    "detr": ("r50", "detr_r50", 91),
    "gfocalv2": ("r50_fpn", "gfocalv2_r50_fpn", 80),
    "nanodet": ("plus-m_320", "nanodet-plus-m_320", 80),
}


def tensors(model: str) -> list[TensorInfo]:
    """Names and narrower shapes of an official model."""
    entries = json.loads((GOLDEN / VARIANTS[model][1] / "keys.json").read_text())["keys"]
    kinds = {True: "buffer", False: "parameter"}
    return [TensorInfo(name, small(name, shape), dtype, kinds[buffer]) for name, shape, dtype, buffer in entries]


def framework_of(model: str) -> type[KeysOnly]:
    """A framework that has nothing but the official names of `model`."""
    return type("Official", (KeysOnly,), {"tensors": lambda self: tensors(model)})


def prefixed(prefix: str, arrays: dict[str, np.ndarray]) -> OrderedDict:
    return OrderedDict((prefix + name, array) for name, array in arrays.items())


def checkpoint(model: str, weights: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> dict:
    """What the official script saves. `others` are weights of the same names that must not be taken."""
    steps = {"state": {0: {"step": 3, "exp_avg": np.ones(2, np.float32)}}, "param_groups": [{"lr": 1e-4}]}
    return {
        "rtdetr": {
            "last_epoch": 71,
            "date": "2023-07-04",
            "model": prefixed("module.", others),
            "ema": {"module": OrderedDict(weights), "updates": 500, "warmups": 2000},
            "optimizer": steps,
            "lr_scheduler": {"milestones": {1000: 1}, "gamma": 0.1},
        },
        "detr": {
            "model": OrderedDict(weights),
            "optimizer": steps,
            "lr_scheduler": {"step_size": 400},
            "epoch": 499,
            "args": {"lr": 1e-4, "backbone": "resnet50"},
        },
        "gfocalv2": {
            "meta": {"mmdet_version": "2.6.0", "CLASSES": ("person", "bicycle"), "epoch": 24, "config": "model = ..."},
            "state_dict": prefixed("module.", weights),
            "optimizer": steps,
        },
        "nanodet": {
            "epoch": 299,
            "global_step": 366599,
            "pytorch-lightning_version": "1.5.10",
            "state_dict": prefixed("model.", others) | prefixed("avg_model.", weights),
            "callbacks": {},
            "optimizer_states": [steps],
            "hyper_parameters": {"weight_averager": "ExpMovingAverager"},
        },
    }[model]


@pytest.mark.parametrize(
    ("model", "wrapper"),
    [("rtdetr", "ema.module"), ("detr", "model"), ("gfocalv2", "state_dict"), ("nanodet", "state_dict")],
)
def test_a_checkpoint_as_it_comes_gives_every_tensor(tmp_path, model, wrapper):
    variant, _, classes = VARIANTS[model]
    weights, others = fill(tensors(model)), fill(tensors(model), 1)
    (tmp_path / "official.pkl").write_bytes(dump(checkpoint(model, weights, others)))
    out = tmp_path / "init.safetensors"
    words = ["init", "--model", model, "--variant", variant, "--num-classes", classes, "--out", out]
    words += ["--weights", tmp_path / "official.pkl", "--part", "detector"]
    assert cli.main(framework_of(model), [str(word) for word in words]) == 0
    back = formats.read(out)
    assert set(back) == set(weights)
    assert [name for name in weights if back[name].tobytes() != weights[name].tobytes()] == []
    report = json.loads(Path(f"{out}.report.json").read_text())["pretrained"]
    assert report["wrapper"] == wrapper and report["taken"] == len(weights)
    assert report["drawn"] == report["unused_source"] == [] and report["filled"] == {}


@pytest.mark.parametrize("model", ["rtdetr", "detr", "gfocalv2", "nanodet"])
def test_a_checkpoint_that_lacks_a_layer_names_it(tmp_path, capsys, model):
    variant, _, classes = VARIANTS[model]
    weights = fill(tensors(model))
    lost = next(t.name for t in tensors(model) if t.kind == "parameter" and not t.name.startswith("backbone"))
    less = {name: array for name, array in weights.items() if name != lost}
    (tmp_path / "official.pkl").write_bytes(dump(checkpoint(model, less, less)))
    out = tmp_path / "init.safetensors"
    words = ["init", "--model", model, "--variant", variant, "--num-classes", classes, "--out", out]
    words += ["--weights", tmp_path / "official.pkl", "--part", "detector"]
    assert cli.main(framework_of(model), [str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert lost in error and error.count("\n") == 1 and not out.exists()
