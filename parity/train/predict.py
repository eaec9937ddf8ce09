"""The verb `predict`: detections of given weights on the validation images, with one timing line per image."""

import argparse
import json
import time
from pathlib import Path

from parity.config.run import load_run
from parity.files import write_json, write_text
from parity.framework import Framework
from parity.train import engine
from parity.train.train import framework_of
from parity.weights import formats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="Weights to detect with, in any format that convert reads.")
    parser.add_argument("--out", required=True, help="COCO results to write; timings go to <name>.timing.jsonl beside.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb: one image at a time, so that the timing lines mean one image."""
    configuration = load_run(args.config)
    framework = framework_of(configuration, framework_class, args.config)
    framework.seed(configuration.seed)
    framework.build(configuration.model, configuration.options)
    framework.load_state(formats.read(args.weights))
    data = engine.val_loader(configuration.but(workers=0))
    results, timing = [], []
    before = time.perf_counter()
    for batch in data.eval_batches(1):
        start = time.perf_counter()
        inputs = framework.to_device(batch)
        outputs = framework.forward(inputs)
        framework.synchronize()
        middle = time.perf_counter()
        found = framework.postprocess(outputs, inputs)
        end = time.perf_counter()
        results += engine.coco_results(found, batch, data.dataset, configuration.evaluate)
        seconds = {"preprocess": start - before, "forward": middle - start, "postprocess": end - middle}
        timing.append({"image_id": int(batch.image_ids[0])} | {key: round(s, 6) for key, s in seconds.items()})
        before = time.perf_counter()
    write_json(args.out, results, indent=None)
    path = Path(args.out)
    write_text(path.with_name(f"{path.stem}.timing.jsonl"), "".join(json.dumps(line) + "\n" for line in timing))
