"""A dataset of squares and the configuration of a short run on it, for tests that train for real."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TRAIN = {
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
}


def make_dataset(root: Path, train: int = 12, val: int = 4) -> Path:
    """Training and validation images of 40 x 32 pixels with one square each, two classes."""
    rng, splits = np.random.default_rng(0), {}
    classes = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
    for split, start, count in (("train", 1, train), ("val", 101, val)):
        (root / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(start, start + count):
            Image.fromarray(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(root / f"images/{split}/{i}.png")
            images.append({"id": i, "file_name": f"{i}.png", "width": 40, "height": 32})
            box = {"bbox": [5 + i % 3, 4, 20, 16], "area": 320, "iscrowd": 0}
            annotations.append({"id": i, "image_id": i, "category_id": 1 + i % 2, **box})
        (root / "annotations").mkdir(exist_ok=True)
        document = {"images": images, "annotations": annotations, "categories": classes}
        (root / f"annotations/{split}.json").write_text(json.dumps(document))
        splits[split] = {"images": count}
    (root / "manifest.json").write_text(json.dumps({"classes": classes, "splits": splits, "digest": "d"}))
    return root


def make_run(data: Path, init: Path, framework: str = "numpy") -> dict[str, Any]:
    """The resolved configuration of a run on `make_dataset`; the weights file `init` is the caller's to write."""
    return {
        "model": "numpy",
        "variant": "tiny",
        "framework": framework,
        "seed": 3,
        "options": {"num_classes": 2, "loss_weights": {"box": 1.0}},
        "groups": [{"pattern": "score", "lr": 0.01}],
        "label_space": "contiguous",
        "preprocess": {"kind": "square", "size": 32},
        "train": dict(TRAIN),
        "evaluate": {"max_detections": 100, "batch_size": 4, "score_threshold": 0.0},
        "data": {"id": "squares", "root": str(data), "num_classes": 2},
        "weights": str(init),
        "device": "cpu",
        "threads": 1,
        "precision": "float32",
        "framework_options": {},
        "workers": 0,
        "log_seconds": 60,
        "checkpoint_minutes": 0,
        "keep_checkpoints": 2,
    }


def make_rtdetr_run(data: Path, init: Path, framework: str) -> dict[str, Any]:
    """Likewise for a very small RT-DETR: eight images, two epochs of four steps."""
    from parity.config.models import model_config

    small = {"num_queries": 20, "num_denoising": 12, "hidden_dim": 32, "decoder_hidden_dim": 32, "base_width": 8}
    small |= {"decoder_layers": 2, "csp_blocks": 1, "multi_scale": [], "augment": {"flip": 0.5}, "epochs": 2}
    small |= {"batch_size": 2, "eval_every": 1}
    model = model_config("rtdetr", "tiny", 2, small).plain()
    run = make_run(data, init, framework) | {key: model[key] for key in ("model", "variant", "options", "groups")}
    return run | {"train": model["train"], "preprocess": {"kind": "square", "size": 64}}
