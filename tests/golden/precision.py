"""How far both frameworks are from float64: one line per variant and mode, the ratio in the last column.

    python tests/golden/precision.py rtdetr/r18vd detr/tiny     # every listed variant without arguments
    python tests/golden/precision.py rtdetr/r18vd --layers      # and the modules where the frameworks differ most

PyTorch in float64 is the referee. Weights, images and boxes come from `fill.py`, so that nothing is downloaded. The
distance of an output is its relative L2 difference; the table shows the median and the largest over the batches. Where
RT-DETR picks another query than the referee, at a tie, only images with the same queries are compared.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import fill as F

from parity.align.compare import compare
from parity.align.queries import match_queries
from parity.align.tolerances import TOLERANCES

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = (
    "rtdetr/r18vd",
    "rtdetr/tiny",
    "detr/r50",
    "detr/tiny",
    "gfocalv2/r50_fpn",
    "gfocalv2/tiny",
    "nanodet/plus-m_320",
    "nanodet/tiny",
)
SIDES = {"referee": ("torch", "float64"), "torch": ("torch", "float32"), "jittor": ("jittor", "float32")}
LIMIT = 2.0  # times PyTorch's distance
CLASSES = 80


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("variants", nargs="*", default=VARIANTS, help="model/variant; all that are listed by default.")
    parser.add_argument("--modes", nargs="+", default=["eval", "train"], choices=["eval", "train"])
    parser.add_argument("--batches", type=int, default=3, help="Batches of two images, 3 by default.")
    parser.add_argument("--size", type=int, default=256, help="Side of the images in pixels, 256 by default.")
    parser.add_argument("--layers", action="store_true", help="Also list the modules with the largest ratios.")
    parser.add_argument("--workdir", help="Keep weights, inputs and outputs here.")
    parser.add_argument("--out", help="Write the numbers here, as JSON.")
    args = parser.parse_args()
    work = Path(args.workdir or tempfile.mkdtemp(prefix="precision-"))
    rows = []
    print(f"{'variant':22} {'mode':6} {'PyTorch':>9} {'Jittor':>9} {'ratio':>6}  output")
    for name in args.variants:
        for mode in args.modes:
            row = measure(name, mode, args, work / name.replace("/", "-"))
            rows.append(row)
            print(
                f"{name:22} {mode:6} {row['torch']:9.1e} {row['jittor']:9.1e} {row['ratio']:6.2f}  {row['output']}",
                flush=True,
            )
            if args.layers:
                print("\n".join(row.pop("layers")), flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps(rows, indent=1) + "\n")
    if not args.workdir:
        shutil.rmtree(work)
    return int(any(row["ratio"] > LIMIT for row in rows))


def measure(name: str, mode: str, args: argparse.Namespace, work: Path) -> dict:
    """The row of one variant in one mode."""
    work.mkdir(parents=True, exist_ok=True)
    model, variant = name.split("/")
    weights = work / "weights.safetensors"
    if not weights.exists():
        write_weights(model, variant, weights)
    apart = {"torch": [], "jittor": []}  # one {output: distance} per batch
    modules = {"torch": [], "jittor": []}
    for number in range(args.batches):
        inputs = work / f"{number}-in.npz"
        np.savez(inputs, **batch(model, number, args.size))
        found = {}
        for side, (framework, dtype) in SIDES.items():
            out = work / f"{mode}-{number}-{side}.npz"
            call(framework, "trace", "--model", model, "--variant", variant, "--num-classes", str(CLASSES),
                 "--weights", str(weights), "--inputs", str(inputs), "--out", str(out), "--mode", mode,
                 "--dtype", dtype, "--threads", "1", "--layers",
                 *(["--set", "dropout=0"] if model == "detr" else []))  # fmt: skip
            with np.load(out) as npz:
                found[side] = {key: npz[key] for key in npz.files}
        for side in apart:
            apart[side].append(distances(found["referee"], found[side], "output/"))
            modules[side].append(distances(found["referee"], found[side], "layer/"))
    usual = {
        side: {key: np.median([b[key] for b in each if key in b]) for key in each[0]} for side, each in apart.items()
    }
    worst = max(
        usual["torch"], key=lambda key: usual["jittor"][key] / usual["torch"][key] if usual["torch"][key] else 0
    )
    row = {
        "variant": name,
        "mode": mode,
        "output": worst,
        "torch": usual["torch"][worst],
        "jittor": usual["jittor"][worst],
    }
    row["ratio"] = row["jittor"] / row["torch"]
    if args.layers:
        layers = {s: {k: np.median([b[k] for b in each if k in b]) for k in each[0]} for s, each in modules.items()}
        ratios = {k: layers["jittor"][k] / a for k, a in layers["torch"].items() if a and k in layers["jittor"]}
        row["layers"] = [f"    {k:60} {layers['torch'][k]:9.1e} {r:6.2f}" for k, r in ratios.items()]
    return row


def distances(referee: dict, other: dict, prefix: str) -> dict[str, float]:
    queries, found = match_queries(referee, other), {}
    for key, array in referee.items():
        if not key.startswith(prefix) or array.dtype.kind != "f" or key not in other:
            continue
        pair = queries.pair(array, other[key]) if queries else (array, other[key])
        if pair is not None:
            found[key.removeprefix(prefix)] = compare(key, *pair, TOLERANCES["output"]).relative_l2
    return found


def write_weights(model: str, variant: str, path: Path) -> None:
    """The values of `fill` under the names that the model has."""
    call("torch", "init", "--model", model, "--variant", variant, "--num-classes", str(CLASSES), "--out", str(path))
    initial = load_file(path)
    filled = initial | F.fill([(name, a.shape, a.dtype.name) for name, a in initial.items()])
    save_file({name: np.ascontiguousarray(a).reshape(a.shape) for name, a in filled.items()}, str(path))


def batch(model: str, seed: int, size: int) -> dict[str, np.ndarray]:
    """Two images with three and five boxes, as `trace` reads them."""
    images = F.image_batch(seed, (2, 3, size, size))
    if model != "rtdetr":
        images = (images - 0.5) / 0.25
    boxes, labels = [], []
    for target in F.targets(seed, 2, CLASSES, (3, 5)):
        cx, cy, w, h = (target["boxes"].astype(np.float64) * size).T
        boxes.append(np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1))
        labels.append(target["labels"])
    return {
        "images": images.astype(np.float32),
        "sizes": np.full((2, 2), size, np.int64),
        "boxes": np.concatenate(boxes).astype(np.float32),
        "labels": np.concatenate(labels),
        "counts": np.array([len(each) for each in labels], np.int64),
    }


def call(framework: str, *arguments: str) -> None:
    """Run a verb of a framework in its environment."""
    command = [str(ROOT / f".venvs/{framework}/bin/python"), "-m", f"{framework}_impl", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
