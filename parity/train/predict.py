"""The verb `predict`: detections of given weights on the validation images, with one timing line per image."""

import argparse
import sys
import time
from dataclasses import replace
from datetime import timedelta

from parity.config.run import MACHINE_KEYS
from parity.files import write_json
from parity.framework import Framework
from parity.train import loaders, validate
from parity.train.given import model_with_weights
from parity.train.partial import Partial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="The resolved run configuration, run.yaml.")
    parser.add_argument("--weights", required=True, help="Weights to detect with, in any format that convert reads.")
    parser.add_argument("--out", required=True, help="COCO results to write; timings go to <name>.timing.jsonl beside.")
    parser.add_argument("--macs", help="JSON file for the multiply-accumulates of one image; counted only if given.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """Run the verb: one image at a time, so that the timing lines mean one image.

    Each image is on the disk when it is done (`parity.train.partial`). So a killed call goes on, and any number of
    images takes the memory of one.
    """
    configuration, framework, sha256 = model_with_weights(args.config, args.weights, framework_class)
    data = loaders.val_loader(configuration.but(workers=0), cache_bytes=0)
    settings = {key: value for key, value in configuration.plain().items() if key not in MACHINE_KEYS}
    key = {"weights": sha256, "config": settings, "images": data.dataset.ids}
    if args.macs:
        first = next(data.eval_batches(1))
        write_json(args.macs, {"value": framework.macs(first), "input": list(first.images.shape)})
    partial = Partial(args.out, key)
    every = data.dataset.images
    data.dataset = replace(data.dataset, images={i: image for i, image in every.items() if i not in partial.done})
    told = Told(f"[{framework.name} {configuration.model}]", len(every), len(partial.done), configuration.log_seconds)
    before = time.perf_counter()
    for batch in data.eval_batches(1):
        start = time.perf_counter()
        inputs = framework.to_device(batch)
        outputs = framework.forward(inputs)
        framework.synchronize()
        middle = time.perf_counter()
        found = framework.postprocess(outputs, inputs)
        end = time.perf_counter()
        results = validate.coco_results(found, batch, data.dataset, configuration.evaluate)
        seconds = {"preprocess": start - before, "forward": middle - start, "postprocess": end - middle}
        partial.add(int(batch.image_ids[0]), results, {key: round(s, 6) for key, s in seconds.items()})
        told.image()
        before = time.perf_counter()
    partial.finish()


class Told:
    """Says every few seconds how many images are done and how long the rest will take."""

    def __init__(self, label: str, images: int, done: int, seconds: float):
        self.label, self.images, self.done, self.seconds = label, images, done, seconds
        self.begin = self.last = time.monotonic()
        self.first = done
        if done:
            self._say(f"goes on after {done} of {images} images")

    def image(self) -> None:
        """Count one image."""
        self.done += 1
        now = time.monotonic()
        if now - self.last >= self.seconds or self.done == self.images:
            self.last = now
            each = (now - self.begin) / (self.done - self.first)
            rest = timedelta(seconds=round(each * (self.images - self.done)))
            self._say(f"{self.done}/{self.images} images, {each:.2f} s each, {rest} to go")

    def _say(self, text: str) -> None:
        print(f"{self.label} {text}", file=sys.stderr, flush=True)
