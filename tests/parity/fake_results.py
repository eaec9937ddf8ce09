"""Fabricated result folders for the tests of figures, tables and report. Every number in them is invented."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from parity.measure import turns

CLASSES = [(1, "fake circle"), (2, "fake square"), (3, "fake star")]
LOSSES = ("loss_vfl", "loss_bbox", "loss_giou", "loss_vfl_aux_0", "loss_bbox_aux_0", "loss_giou_aux_0")
STEPS = 10
VERSION = {"torch": {"torch": "0.0-fake", "python": "3.11.0"}, "jittor": {"jittor": "0.0-fake", "python": "3.11.0"}}


def make(
    root: Path,
    frameworks: tuple[str, ...] = ("torch", "jittor"),
    seeds: tuple[int, ...] = (0,),
    epochs: int = 2,
    manifest: dict[str, dict[str, Any]] | None = None,
    drop: tuple[str, ...] = (),
    ap_shift: float = 0.0,
    language: str = "en",
    alignment: bool = False,
) -> Path:
    """Write a comparison below `root` and return the path of its comparison.json.

    `manifest` overlays run.json by framework, `drop` removes files afterwards (paths below `root`, wildcards allowed),
    `ap_shift` is added to the AP (0..1) of jittor. Paths inside are absolute, so that tests need no working directory.
    """
    root = Path(root)
    dataset = _dataset(root / "data" / "fake-0000")
    runs, profiles = [], {}
    for framework in frameworks:
        for seed in seeds:
            folder = root / "fakedet" / "runs" / framework / f"fake-s{seed}"
            shift = ap_shift if framework == "jittor" else 0.0
            _run(folder, framework, seed, epochs, dataset, shift, (manifest or {}).get(framework, {}))
            cross = {other: str(folder / "cross" / other) for other in frameworks if other != framework}
            for other in cross:
                _evaluation(folder / "cross" / other, dataset, _final_ap(seed, shift) + 1e-4, seed, jitter=0.3)
            runs.append({"framework": framework, "seed": seed, "dir": str(folder), "cross": cross})
        settings = ("jittor", "jittor-stock") if framework == "jittor" else (framework,)
        for setting in settings:
            profiles[setting] = [
                str(_write(root / f"fakedet/profile/{setting}.{number}.json", profile_of(framework, setting, number)))
                for number in (1, 2, 3, 4)
            ]
    index = {
        "model": "fakedet",
        "title": "FakeDet",
        "variant": "tiny",
        "frameworks": list(frameworks),
        "runs": runs,
        "profiles": profiles,
        "dataset": str(dataset),
        "conversion": str(_write(root / "fakedet/weights/conversion.json", _conversion())),
        "alignment": str(_write(root / "fakedet/alignment/alignment.json", _alignment())) if alignment else None,
        "stock": str(_write(root / "fakedet/stock.json", _stock())) if alignment else None,
        "whole_run": str(_write(root / "fakedet/whole_run.json", _whole_run())) if alignment else None,
        "config": {
            "model": "fakedet",
            "variant": "tiny",
            "seeds": list(seeds),
            "device": "cpu",
            "threads": 1,
            "train": {"epochs": epochs, "batch_size": 4},
            "report": {"language": language},
        },
        "margins": {"ap": 1.0, "latency": 0.05},
        "commit": "f" * 40,
        "commands": {"train": "python -m torch_impl train --config run.yaml --out OUT"},
    }
    path = _write(root / "fakedet" / "comparison.json", index)
    for pattern in drop:
        for file in root.glob(pattern):
            file.unlink()
    return path


def manifest_of(framework: str, seed: int = 0, epochs: int = 2) -> dict[str, Any]:
    """A complete run.json."""
    return {
        "framework": framework,
        "versions": VERSION[framework],
        "model": "fakedet",
        "variant": "tiny",
        "commit": "f" * 40,
        "config_digest": "c" * 64,
        "parameters": {"trainable": 1_234_567, "total": 1_234_567, "with_buffers": 1_240_000},
        "weights_sha256": f"{seed:064x}",
        "groups": [{"names": ["a.weight", "b.weight"], "lr": 1e-4, "weight_decay": 1e-4}],
        "lr_digest": "1" * 64,
        "lr_steps": epochs * STEPS,
        "plan_digest": f"{seed + 7:064x}",
        "observed": {
            "state_sha256": f"{seed:064x}",
            "batches": {"count": epochs * STEPS, "sha256": "a" * 64},
            "validation": {"count": 2, "sha256": "b" * 64},
            "rates": {"count": epochs * STEPS, "sha256": "2" * 64},
            "clipping": {"count": epochs * STEPS, "sha256": "3" * 64},
            "optimizer": {"kind": "AdamW", "groups": [{"names": ["a.weight", "b.weight"], "weight_decay": 1e-4}]},
            "precision": ["float32"],
            "threads": 1,
            "environment": {"GOMP_SPINCOUNT": "1000", "OMP_WAIT_POLICY": None},
            "code": {"parity/train/engine.py": "4" * 16, f"parity/only/{framework}.py": "5" * 16},
        },
        "loss_weights": {"class": 1.0, "bbox": 5.0, "giou": 2.0},
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "seed": seed,
        "epochs": epochs,
        "batch_size": 4,
        "accumulate": 1,
        "optimizer": {"kind": "AdamW", "lr": 1e-4},
        "schedule": {"kind": "cosine", "warmup_steps": 2},
        "clip_norm": 0.1,
        "ema": {"decay": 0.98, "warmups": 10},
        "evaluate_with_ema": True,
        "augment": {"flip": 0.5},
        "multi_scale": [],
        "preprocess": {"kind": "square", "size": 64},
        "num_classes": len(CLASSES),
        "dataset_digest": "e" * 64,
        "train_images": 40,
        "val_images": 6,
        "started": "2000-01-01T00:00:00+00:00",
        "finished": "2000-01-01T00:01:00+00:00",
        "seconds": 60.0 if framework == "torch" else 66.0,
        "peak_memory_mb": 500.0,
        "host": {"cpu": "Fake CPU", "cores": 2, "memory_gb": 8.0, "gpu": None, "platform": "Fake-OS"},
        "options": {"hidden_dim": 8, "num_queries": 5},
        "framework_options": {"ops": "fast"} if framework == "jittor" else {},
    }


def _write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def _final_ap(seed: int, shift: float) -> float:
    return 0.5 + 0.004 * seed + shift


def _metrics(ap: float) -> dict[str, float | None]:
    high = min(1.0, ap + 0.2)
    values = (ap, high, ap + 0.05, None, ap - 0.1, ap + 0.1, ap * 0.6, ap + 0.08, ap + 0.12, None, ap, ap + 0.15)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    return {name: None if v is None else round(max(0.0, v), 6) for name, v in zip(names, values, strict=True)}


def _run(
    folder: Path, framework: str, seed: int, epochs: int, dataset: Path, shift: float, overlay: dict[str, Any]
) -> None:
    rng = np.random.default_rng([seed, len(framework)])
    slow = 1.0 if framework == "torch" else 1.1
    lines = []
    for epoch in range(1, epochs + 1):
        totals = []
        for i in range(STEPS):
            step = (epoch - 1) * STEPS + i + 1
            noise = 0.1 * rng.random(len(LOSSES)) * (step > 1)
            parts = {name: float(3 / (1 + 0.1 * step) + part) for name, part in zip(LOSSES, noise, strict=True)}
            totals.append(sum(parts.values()))
            rates = [1e-4 * min(1, step / 5), 5e-4 * min(1, step / 5)]
            seconds = {"data": 0.02, "forward_backward": 0.3 * slow, "optimizer": 0.03, "step": 0.35 * slow}
            lines.append(
                {"kind": "step", "epoch": epoch, "step": step, "total": totals[-1], "losses": parts, "lr": rates}
                | {"grad_norm": 1.0, "clip": 0.1, "seconds": seconds, "images": 4}
            )
        ap = _final_ap(seed, shift) * epoch / epochs
        lines.append(
            {"kind": "epoch", "epoch": epoch, "steps": STEPS, "total": float(np.mean(totals)), "losses": parts}
            | {"metrics": _metrics(ap), "seconds": {"train": 3.5 * slow, "evaluate": 0.8 * slow}}
            | {"peak_memory_mb": 480.0 * slow}
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = manifest_of(framework, seed, epochs) | overlay
    _write(folder / "run.json", {key: value for key, value in record.items() if value != "<drop>"})
    _evaluation(folder, dataset, _final_ap(seed, shift), seed)


def _evaluation(folder: Path, dataset: Path, ap: float, seed: int, jitter: float = 0.0) -> None:
    """Detections near the truth, some missed, some invented, and a coco.json that was not computed from them."""
    truth = json.loads((dataset / "annotations/val.json").read_text())
    rng = np.random.default_rng(seed + 11)
    found = []
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        dx, dy, score, miss = rng.normal(0, 2), rng.normal(0, 2), rng.uniform(0.3, 0.95), rng.random() < 0.15
        if miss or annotation["iscrowd"]:
            continue
        box = [round(float(v), 3) for v in (x + dx + jitter, y + dy, w, h)]
        found.append({"image_id": annotation["image_id"], "category_id": annotation["category_id"], "bbox": box})
        found[-1]["score"] = round(float(score), 4)
    for image in truth["images"]:
        box = [round(float(v), 3) for v in (*rng.uniform(0, 60, 2), 20, 20)]
        found.append({"image_id": image["id"], "category_id": 1, "bbox": box, "score": 0.35})
    _write(folder / "detections.json", found)
    per_class = [
        {"id": i, "name": name, "AP": ap + 0.01 * i, "AP50": ap + 0.2, "instances": 4 * i} for i, name in CLASSES
    ]
    coco = {"metrics": _metrics(ap), "per_class": per_class, "images": len(truth["images"]), "detections": len(found)}
    _write(folder / "coco.json", coco)


def _dataset(folder: Path) -> Path:
    """Six validation images of 96 x 72 pixels; the fifth has no boxes, the sixth a crowd."""
    rng = np.random.default_rng(3)
    images, annotations = [], []
    (folder / "images/val").mkdir(parents=True, exist_ok=True)
    for i in range(1, 7):
        pixels = rng.integers(90, 130, (72, 96, 3), dtype=np.uint8)
        images.append({"id": i, "file_name": f"{i}.png", "width": 96, "height": 72})
        for j in range(0 if i == 5 else 3):
            x, y = int(4 + 30 * j), int(rng.integers(5, 40))
            pixels[y : y + 22, x : x + 24] = (40 * j + 60, 200 - 60 * j, 90)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": j % 3 + 1, "bbox": [x, y, 24, 22]}
                | {"area": 24 * 22, "iscrowd": int(i == 6 and j == 2)}
            )
        Image.fromarray(pixels).save(folder / "images/val" / f"{i}.png")
    categories = [{"id": i, "name": name} for i, name in CLASSES]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    _write(folder / "annotations/val.json", truth)
    splits = {"train": {"images": 40, "annotations": 100}, "val": {"images": 6, "annotations": len(annotations)}}
    manifest = {
        "name": "fake",
        "source": {"source": "synthetic", "seed": 7},
        "classes": categories,
        "splits": splits,
        "digest": "e" * 64,
    }
    _write(folder / "manifest.json", manifest)
    return folder


def profile_of(framework: str, setting: str, number: int = 1) -> dict[str, Any]:
    """What one process measured; processes differ by about one percent."""
    rng = np.random.default_rng([len(setting), number])
    slow = {"torch": 1.0, "jittor": 1.08, "torch-compile": 0.8, "jittor-stock": 1.9}[setting]
    minute = 2 * turns.turns(max(4, number)).index((setting, number))
    slow *= 1 + 0.01 * rng.standard_normal()
    forward = (0.02 * slow * (1 + 0.05 * rng.standard_normal(15))).tolist()
    split = {"preprocess": [0.002] * 15, "forward": forward, "postprocess": [0.001] * 15}
    step = {"data": [0.01] * 3, "forward_backward": [0.3 * slow] * 3, "optimizer": [0.02] * 3}
    host = {"cpu": "Fake CPU", "cores": 2, "memory_gb": 8.0, "gpu": None, "platform": "Fake-OS"}
    return {
        "framework": framework,
        "setting": setting,
        "versions": VERSION[framework],
        "model": "fakedet",
        "variant": "tiny",
        "device": "cpu",
        "threads": 1,
        "host": host,
        "input": [1, 3, 64, 64],
        "parameters": {"trainable": 1_234_567, "total": 1_234_567, "with_buffers": 1_240_000},
        "weights_bytes": 4_960_000,
        "macs": {"value": 321_000_000, "rule": "convolutions, linear layers and attention products"},
        "latency": split | {"total": [f + 0.003 for f in forward]},
        "train": {"batch_size": 4, **step, "step": [0.33 * slow] * 3},
        "first": {"import": 1.0, "build": 0.5, "forward": 2.0 * slow, "step": 9.0 * slow, "second_step": 0.4 * slow},
        "throughput": {"inference_images_per_second": 43 / slow, "train_images_per_second": 12 / slow},
        "memory": {"inference_peak_mb": 300.0 * slow, "train_peak_mb": 700.0 * slow, "meter": "fake meter"},
        "machine": {"latency": [0.004] * 40, "train": [0.004] * 40},
        "load": {"before": 0.1, "after": 1.0},
        "others": {"latency": 0.02, "train": 0.03},
        "span": [f"2000-01-01T01:{minute:02}:00+00:00", f"2000-01-01T01:{minute:02}:30+00:00"],
    }


def _conversion() -> dict[str, Any]:
    tensors = [{"source": name, "target": name, "shape": [8, 8], "dtype": "float32"} for name in ("a", "b")]
    lists = {"unused_source": [], "unfilled_target": [], "reshaped": [], "recast": []}
    return {"tensors": tensors, "verified": 2, "weights_sha256": "0" * 64, **lists}


def _alignment() -> dict[str, Any]:
    numbers = {"worst": 3e-6, "tolerance": 1e-4, "measure": "relative L2", "where": "fake.layer"}
    numbers |= {"expected": {"modules": 40}, "compared": {"modules": 40}}
    rungs = [
        {"rung": 3, "name": "forward, layer by layer", "verdict": "pass", **numbers},
        {"rung": 6, "name": "gradients", "verdict": "fail", **numbers, "worst": 0.1, "where": "decoder.fake.weight"},
        {"rung": 10, "name": "AP with the same weights", "verdict": "incomplete", "worst": None, "tolerance": None}
        | {"measure": "", "expected": {}, "compared": {}, "where": "no trajectory was asked for"},
    ]
    divergence = {"module": "decoder.fake", "cause": True, "hint": "linear: look at the transposition"}
    trajectory = {"relative_difference": [1e-7 * 2**i for i in range(10)], "limit": 1e-3}
    trajectory |= {"shadow": [2e-7 * 2**i for i in range(10)], "limits": [1e-3] * 10}
    return {
        "passed": False,
        "frameworks": ["torch", "jittor"],
        "rungs": rungs,
        "first_divergence": divergence,
        "trajectory": trajectory,
        "precision": {
            "verdict": "pass",
            "limit": 2,
            "frameworks": ["torch", "jittor"],
            "where": "",
            "rows": [
                {"what": "losses", "expected": 10, "compared": 10, "distances": {"torch": 2e-7, "jittor": 3e-7}}
                | {"ratio": 1.5, "where": ""}
            ],
        },
    }


def _whole_run() -> dict[str, Any]:
    curves = {"steps": [2, 5, 10], "relative_difference": [1e-8, 2e-8, 1e-8], "gradient": [1e-6] * 3}
    curves |= {"update": [2e-6] * 3, "loss": [1e-8, -2e-8, 1e-8], "along": [1e-9] * 3}
    lean = {"loss": {"mean": 0.0, "low": -4e-8, "high": 4e-8, "n": 3}, "update along the gradient": None}
    counts = {"states": 3, "steps": 3}
    return {
        **{"rung": 9, "name": "steps over the whole training", "verdict": "pass", "worst": 1e-8, "tolerance": 1e-4},
        **{"measure": "relative", "expected": counts, "compared": counts, "where": "step 5: total 3 and 3"},
        **{"details": {"lean": lean}, "frameworks": ["torch", "jittor"], "of": 10, "curves": curves},
    }


def _stock() -> dict[str, Any]:
    return {"verdict": "pass", "rungs": [_alignment()["rungs"][0]], "frameworks": ["torch", "jittor-stock"]}
