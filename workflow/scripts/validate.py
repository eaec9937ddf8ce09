"""How good a trained run is on its whole validation split: predict in the run's framework, then pycocotools.

    python workflow/scripts/validate.py results/nanodet/runs/torch/e12-0123abcd-s0 [weights.safetensors] [--out folder]

Without weights it uses those that the run is judged by. Prints COCO's metrics, the score thresholds with the best F1,
what was confused with what, and the cost of one image. Writes <run>/validation/<weights>, or the folder that is named:
detections.json, coco.json, macs.json, precision_recall, best_f1 and confusion as CSV, and two figures.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import run_job
from interpreters import interpreter

from parity.compare.quality import quality
from parity.config.models import ROOT
from parity.config.run import load_run
from parity.data.entries import METRICS
from parity.errors import UserError
from parity.files import read_json
from parity.report import validation


def main() -> int:
    parser = argparse.ArgumentParser(description="How good a trained run is on its whole validation split.")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("weights", nargs="?", type=Path, help="other weights than the final ones")
    parser.add_argument("--out", type=Path, help="folder for the results, instead of one in the run's folder")
    options = parser.parse_args()
    try:
        run = load_run(options.run / "run.yaml")
        weights = options.weights or options.run / read_json(options.run / "run.json")["final_weights"]
        python = interpreter(run.framework)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    out = options.out or options.run / "validation" / weights.stem
    out.mkdir(parents=True, exist_ok=True)
    framework, found = run.framework, out / "detections.json"
    predict = [python, "-m", f"{framework}_impl", "predict"]
    predict += ["--config", options.run / "run.yaml", "--weights", weights, "--out", found]
    predict += ["--macs", out / "macs.json"]
    annotations = Path(run.data.root) / "annotations/val.json"
    score = [sys.executable, ROOT / "workflow/scripts/evaluate.py", "--annotations", annotations]
    score += ["--detections", found, "--out", out / "coco.json"]
    environment = run_job.environment(run.threads, os.environ)
    for command in (predict, score):
        done = subprocess.run([str(part) for part in command], env=environment)
        if done.returncode:
            return done.returncode
    scored = read_json(out / "coco.json")
    metrics, objects = scored["metrics"], sum(entry["instances"] for entry in scored["per_class"])
    print(f"\n{framework} {run.model} {run.variant}, {weights.name}: {scored['images']} images, {objects} objects")
    print("COCO's metrics, from 0 to 100 (s, m, l: objects of up to 32 x 32, up to 96 x 96, more pixels)")
    for name in METRICS:
        print(f"{name:>6} {'undefined' if metrics[name] is None else f'{100 * metrics[name]:.2f}'}")
    try:
        judged = quality(annotations, found)
        macs = read_json(out / "macs.json")["value"]
        validation.save(framework, judged, out, f"{run.model} ({run.variant}), {weights.name}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n" + validation.text(framework, judged, macs))
    print(f"\nDetections, tables (.csv) and figures (precision_recall.png, confusion.png) are in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
