"""Write what one case of cases.json feeds to an implementation (numpy and safetensors only).

    python golden_inputs.py rtdetr_r18vd OUT_FOLDER      # weights.safetensors and CASE-in.npz for every case

The files follow the contract of `trace`: images as the official network received them, boxes as absolute xyxy pixels.
"""

import json
import sys
from pathlib import Path

import fill as F
import numpy as np
from safetensors.numpy import save_file


def write_weights(variant_dir, path):
    """Every key of the official state dict; the tables that fill() leaves out are computed here."""
    keys = json.loads((Path(variant_dir) / "keys.json").read_text())["keys"]
    weights = F.fill([k[:3] for k in keys])
    for name, shape, _, _ in keys:
        if name not in weights:
            assert name.endswith(".project"), f"no rule for the table {name}"
            weights[name] = np.arange(shape[0], dtype=np.float32)  # 0..reg_max of a distribution head
    save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in weights.items()}, str(path))


def images(case):
    """[B,3,H,W] float32: normalised first where the case says so, then zero outside the valid size (bottom, right)."""
    b, c, h, w = case["batch_shape"]
    if len(case["image_seeds"]) == 1:  # one draw for the whole batch
        parts = list(F.image_batch(case["image_seeds"][0], (b, c, h, w)))
    else:  # one draw per image, of its own size
        parts = [
            F.image_batch(s, (1, c, *size))[0] for s, size in zip(case["image_seeds"], case["sizes"], strict=False)
        ]
    x = np.zeros((b, c, h, w), np.float32)
    for i, (part, (vh, vw)) in enumerate(zip(parts, case["sizes"], strict=False)):
        if case["normalise"]:
            part = (part - case["normalise"][0]) / case["normalise"][1]
        x[i, :, :vh, :vw] = part[:, :vh, :vw]
    return x


def write_inputs(case, train, path):
    """IN.npz of a case; `train` is the variant's opened train.npz, where targets and random draws lie."""
    d = {"images": images(case), "sizes": np.array(case["sizes"], np.int64)}
    if "boxes" in case:
        boxes, labels = [], []
        for i, (h, w) in enumerate(case["sizes"]):
            if case["boxes"] == "cxcywh_normalised":
                cx, cy, bw, bh = (train[f"targets/img{i}/boxes"].astype(np.float64) * [w, h, w, h]).T
                boxes.append(np.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], 1))
            else:
                boxes.append(train[f"targets/img{i}/boxes_xyxy"])
            labels.append(train[f"targets/img{i}/labels"])
        d.update(
            boxes=np.concatenate(boxes).astype(np.float32).reshape(-1, 4),
            labels=np.concatenate(labels).astype(np.int64),
            counts=np.array([len(v) for v in labels], np.int64),
        )
    if case.get("draws"):  # repeated for each of the K+1 forwards, so that it does not matter whether
        pre = case["name"] + "/draws/"  # an implementation starts over at a forward or reads on
        stored = sorted((k for k in train.files if k.startswith(pre)), key=lambda k: int(k[len(pre) :].split("_")[0]))
        for i in range((case["steps"] + 1) * len(stored)):
            d[f"draws/{i}"] = train[stored[i % len(stored)]]
    np.savez(path, **d)


def main(variant_dir, out):
    variant_dir, out = Path(variant_dir), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_weights(variant_dir, out / "weights.safetensors")
    spec, train = json.loads((variant_dir / "cases.json").read_text()), np.load(variant_dir / "train.npz")
    for case in spec["eval"] + spec["train"]:
        write_inputs(case, train, out / f"{case['name']}-in.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
