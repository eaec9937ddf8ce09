"""Folders as `probe` writes them, of a network of three modules that is small enough to break by hand."""

import json
from pathlib import Path

import numpy as np

from parity.align.files import Probe, save_arrays
from parity.align.ladder import climb

STEPS = 5
ANCHORS = 3
GRADIENT = {"stem.weight": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), "stem.bias": np.float32([1e-9, -2e-9])}
NORM = float(np.linalg.norm(np.concatenate([g.astype(np.float64).ravel() for g in GRADIENT.values()])))
CLIP_NORM = 0.1 * (NORM + 1e-6)
DETECTIONS = {
    "boxes": np.float32([[10, 10, 50, 50], [20, 20, 90, 60], [5, 5, 8, 8]]),
    "scores": np.float32([0.9, 0.5, 0.1]),
    "labels": np.int64([1, 0, 2]),
}


def layers(fed: bool) -> dict[str, np.ndarray]:
    """stem -> norm inside block -> block; `fed` adds what the second framework answers to the first's inputs."""
    rng = np.random.default_rng(3)
    image, stem, norm, block = (rng.standard_normal((2, 3, 4, 4)).astype(np.float32) for _ in range(4))
    arrays = {"stem": stem, "stem@in0": image}
    arrays |= {"block.norm": norm, "block.norm@in0": stem, "block": block, "block@in0": stem}
    arrays |= {"decoder.enc_score_head": SCORES, "decoder.enc_score_head@in0": block}
    if fed:
        arrays |= {f"{name}@fed": arrays[name] for name in ("stem", "block.norm", "block", "decoder.enc_score_head")}
    return {f"layer/{name}": array.copy() for name, array in arrays.items()}


SCORES = np.float32(np.stack([np.linspace(1, 0, 12).reshape(6, 2)] * 2))  # [B, L, C]


def judged(folder: Path, first: dict | None = None, **second) -> dict:
    """alignment.json of two fake probes; `first` and `second` are their changes."""
    one = probe(folder / "a", "one", **(first or {}))
    return climb(Probe(one), Probe(probe(folder / "b", "two", fed=True, **second)))


def failed(alignment: dict) -> list[int]:
    return [rung["rung"] for rung in alignment["rungs"] if rung["verdict"] == "fail"]


def scale(name: str, factor, at=..., steps: range | tuple | None = None):
    """A change that multiplies (part of) an array; of several `steps`, `name` without its `step<k>/`."""

    def change(arrays):
        for key in [f"step{k}/{name}" for k in steps] if steps is not None else [name]:
            arrays[key] = np.array(arrays[key])
            arrays[key][at] *= factor

    return change


def put(path: tuple, value):
    """A change of one entry of nested mappings."""

    def change(mapping):
        *parents, last = path
        for key in parents:
            mapping = mapping[key]
        mapping[last] = value

    return change


def drop(*names: str):
    """A change that takes arrays away."""
    return lambda arrays: [arrays.pop(name) for name in names]


def probe(folder: Path, framework: str, fed: bool = False, **changes) -> Path:
    """Write a probe. `changes` are functions by file: eval, train, batches, anchors, final, average and nudged
    take the arrays, about takes probe.json."""
    queries = {"output/topk_ind": np.array([[0, 1, 2], [0, 1, 2]])}
    outputs = {"output/pred_logits": np.arange(18, dtype=np.float32).reshape(2, 3, 3)}
    found = {f"detections/img{i}/{key}": value.copy() for i in range(2) for key, value in DETECTIONS.items()}
    match = {"match/main/img0/src": np.int64([0, 2]), "match/main/img0/tgt": np.int64([1, 0])}
    step = {name: np.full(STEPS, value) for name, value in (("total", 3.0), ("grad_norm", NORM), ("clip", 0.1))}
    step = {f"step_{name}": value for name, value in step.items()}
    for k in range(STEPS):
        step |= {f"step{k}/grad/{name}": value.copy() for name, value in GRADIENT.items()}
        step |= {f"step{k}/delta/stem.weight": np.full((2, 2), 1e-4), f"step{k}/delta_norms": np.ones(1)}
        step |= {f"step{k}/moment/stem.weight/exp_avg": np.full((2, 2), 0.1)}
        step |= {f"step{k}/buffer/norm.running_mean": np.float32([0.1, 0.2]), f"step{k}/keep": np.float64(0.9)}
        step |= {f"step{k}/ema/stem.weight": np.full((2, 2), 1e-5), f"step{k}/ema/norm.running_mean": np.full(2, 1e-3)}
        step |= {f"step{k}/ema_norms": np.ones(2)}
    for k in range(1, STEPS):
        batch = {"loss/loss_box": np.float32(1.0), "total": np.float32(3.0), "layer/decoder.enc_score_head": SCORES}
        step |= {f"batch{k}/{name}": value.copy() for name, value in (batch | queries | match).items()}
    step |= {"decay/stem.weight": np.full((2, 2), -0.01), "decay_norms": np.ones(1)}
    arrays = {
        "batches": {"0/images": np.ones((2, 3, 4, 4)), "0/sizes": np.full((2, 2), 100), "1/boxes": np.ones((3, 4))},
        "eval": layers(fed) | outputs | queries | found,
        "train": {"loss/loss_box": np.float32(1.0), "total": np.float32(3.0), "layer/decoder.enc_score_head": SCORES}
        | {"lr": np.float64([[0.1, 0.2]] * ANCHORS)} | queries | match | step,
    }  # fmt: skip
    average = outputs | queries | {"layer/decoder.enc_score_head": SCORES}
    arrays["average"] = {name: array.copy() for name, array in average.items()}
    arrays["anchors"] = {}
    for anchor in range(1, ANCHORS + 1):
        arrays["anchors"] |= {f"{anchor}/total": np.float64(3.0), f"{anchor}/loss/loss_box": np.float64(1.0)}
        arrays["anchors"] |= {f"{anchor}/{kind}/stem.weight": np.float64([3, -4]) for kind in ("grad", "update")}
    arrays["final"] = {name: array.copy() for name, array in found.items()}
    arrays["nudged"] = {name: array.copy() for name, array in arrays["train"].items()}
    about = {
        "framework": framework,
        "versions": {framework: "1"},
        "model": "fake",
        "variant": "tiny",
        "config": {"train": {"epochs": 3, "clip_norm": CLIP_NORM, "loss_weights": {"bbox": 5.0}}},
        "own_config": {},
        "settings": {"images": 2, "steps": STEPS, "trajectory": ANCHORS},
        "tensors": {"stem.weight": "parameter [2, 2]", "block.norm.weight": "parameter [3]"}
        | {"block.norm.running_mean": "buffer [3]", "block.norm.running_var": "buffer [3]"},
        "groups": [{"names": ["stem.weight"], "lr": 0.1, "weight_decay": 0.0}],
        "parameters": {"trainable": 7},
        "dataset_digest": "d",
        "plan_digest": "p",
        "shaken_sha256": "s",
        "batches_sha256": ["a", "b"],
        "weights": {"tensors": 4, "changed_by_loading": [], "changed_by_pkl": []}
        | {f"{name}_sha256": "w" for name in ("file", "state", "pkl")},
        "trajectory": {"total": [3.0] * ANCHORS, "grad_norm": [1.0] * ANCHORS, "clip": [1.0] * ANCHORS}
        | {"lr": [[0.1, 0.2] for _ in range(ANCHORS)]},
        "shadow": {"total": [3.0] * ANCHORS},
        "evaluation": {"weights_sha256": "f", "images": 4, "metrics": {"AP": 0.25, "AP50": 0.5}},
    }
    for name, change in changes.items():
        change(about if name == "about" else arrays[name])
    for name, content in arrays.items():
        save_arrays(folder / f"{name}.npz", content)
    (folder / "probe.json").write_text(json.dumps(about))
    return folder
