"""Folders as `probe` writes them, of a network of three modules that is small enough to break by hand."""

import json
from pathlib import Path

import numpy as np

from parity.align.files import save_arrays

GRADIENT = {"stem.weight": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), "stem.bias": np.float32([1e-9, -2e-9])}
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


def probe(folder: Path, framework: str, fed: bool = False, **changes) -> Path:
    """Write a probe. `changes` are functions by file: eval, train, batches, anchors, final and nudged take the
    arrays, about takes probe.json."""
    queries = {"output/topk_ind": np.array([[0, 1, 2], [0, 1, 2]])}
    outputs = {"output/pred_logits": np.arange(18, dtype=np.float32).reshape(2, 3, 3)}
    found = {f"detections/img{i}/{key}": value.copy() for i in range(2) for key, value in DETECTIONS.items()}
    match = {"match/main/img0/src": np.int64([0, 2]), "match/main/img0/tgt": np.int64([1, 0])}
    step = {"step_total": np.float64([3.0]), "step_grad_norm": np.float64([4.0]), "step_clip": np.float64([0.1])}
    moved = {"step0/delta/stem.weight": np.full((2, 2), 1e-4), "ema_delta/stem.weight": np.full((2, 2), 1e-5)}
    arrays = {
        "batches": {"0/images": np.ones((2, 3, 4, 4)), "0/sizes": np.full((2, 2), 100), "1/boxes": np.ones((3, 4))},
        "eval": layers(fed) | outputs | queries | found,
        "train": {"loss/loss_box": np.float32(1.0), "total": np.float32(3.0), "layer/decoder.enc_score_head": SCORES}
        | {f"step0/grad/{name}": value.copy() for name, value in GRADIENT.items()}
        | {"step0/buffer/norm.running_mean": np.float32([0.1, 0.2]), "lr": np.float64([[0.1], [0.2]])}
        | queries | match | step | moved,
    }  # fmt: skip
    arrays["anchors"] = {"1/total": np.float64(3.0), "1/loss/loss_box": np.float64(1.0), "1/norms": np.float64([3, 4])}
    arrays["final"] = {name: array.copy() for name, array in found.items()}
    arrays["nudged"] = {name: array.copy() for name, array in arrays["train"].items()}
    about = {
        "framework": framework,
        "versions": {framework: "1"},
        "model": "fake",
        "variant": "tiny",
        "config": {"train": {"epochs": 3, "loss_weights": {"bbox": 5.0}}},
        "own_config": {},
        "settings": {"images": 2, "steps": 1, "trajectory": 2},
        "tensors": {"stem.weight": "parameter [2, 2]", "block.norm.weight": "parameter [3]"}
        | {"block.norm.running_mean": "buffer [3]", "block.norm.running_var": "buffer [3]"},
        "groups": [{"names": ["stem.weight"], "lr": 0.1, "weight_decay": 0.0}],
        "parameters": {"trainable": 7},
        "dataset_digest": "d",
        "plan_digest": "p",
        "shaken_sha256": "s",
        "batches_sha256": ["a"],
        "weights": {"tensors": 4, "changed_by_loading": [], "changed_by_pkl": []}
        | {f"{name}_sha256": "w" for name in ("file", "state", "pkl")},
        "trajectory": {"total": [3.0, 2.9], "grad_norm": [1.0, 1.0], "clip": [1.0, 1.0]},
        "shadow": {"total": [3.0, 2.9]},
        "evaluation": {"weights_sha256": "f", "images": 4, "metrics": {"AP": 0.25, "AP50": 0.5}},
    }
    for name, change in changes.items():
        change(about if name == "about" else arrays[name])
    for name, content in arrays.items():
        save_arrays(folder / f"{name}.npz", content)
    (folder / "probe.json").write_text(json.dumps(about))
    return folder
