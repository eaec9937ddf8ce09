"""Compute with exported files, for the check: `python -m parity.export`, in the environment with onnxruntime.

Writes raw.npz, the raw outputs of a batch under the names of `trace`, and detections.json with its timing lines, as
`predict` does for a framework.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from parity.align.trace import read_inputs
from parity.arrays import write_npz
from parity.config.run import load_run
from parity.errors import UserError
from parity.export.session import Session
from parity.files import write_json, write_text
from parity.framework import Batch
from parity.train import loaders, validate


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m parity.export", description=__doc__.splitlines()[0])
    parser.add_argument("--detections", required=True, help="The file with post-processing.")
    parser.add_argument("--raw", required=True, help="The file of raw outputs.")
    parser.add_argument("--config", required=True, help="A resolved run configuration: images and preprocessing.")
    parser.add_argument("--inputs", required=True, help="IN.npz, a batch for the raw outputs.")
    parser.add_argument("--out", required=True, type=Path, help="Folder for what is written.")
    args = parser.parse_args(given)
    try:
        answer(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def answer(args: argparse.Namespace) -> None:
    """Run both files. Raises UserError for a file that is no exported model, or a configuration that does not fit."""
    run = load_run(args.config)
    batch, _ = read_inputs(args.inputs, train=False, num_classes=0)
    raw = Session(args.raw, run.threads)
    write_npz(args.out / "raw.npz", {f"output/{name}": array for name, array in in_parts(raw, batch).items()})
    session = Session(args.detections, run.threads)
    write_json(args.out / "metadata.json", session.metadata)
    data = loaders.val_loader(run.but(workers=0), cache_bytes=0)
    results, lines = [], []
    for image in data.eval_batches(1):
        begin = time.perf_counter()
        found = session.predict(image)
        seconds = {"forward": round(time.perf_counter() - begin, 6), "postprocess": 0.0}
        lines.append(json.dumps({"image_id": int(image.image_ids[0]), **seconds}) + "\n")
        results += validate.coco_results(found, image, data.dataset, run.evaluate)
    write_json(args.out / "detections.json", results, indent=None)
    write_text(args.out / "detections.timing.jsonl", "".join(lines))


def in_parts(session: Session, batch: Batch) -> dict[str, np.ndarray]:
    """Outputs of a batch, computed in parts of the largest size that the file takes."""
    step = session.batch or len(batch.images)
    parts = [
        session.run(Batch(batch.images[i : i + step], batch.sizes[i : i + step]))
        for i in range(0, len(batch.images), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in session.outputs}


if __name__ == "__main__":
    sys.exit(main())
