"""Seeded initial weights, made by NumPy from names and shapes alone, so that every framework starts from the same bits.

Each tensor draws from its own generator, keyed by (seed, CRC-32 of its name): adding a layer changes no other one. The
rules are the layers' defaults in PyTorch (torch.nn.modules: convolutions and linear layers uniform within
1/sqrt(fan_in), norms 1 and 0) and, before them, one table per model with the differences of its official code.
"""

import argparse
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from parity.config import models
from parity.config.model import Options
from parity.config.run import ResolvedConfig
from parity.data.download import local
from parity.errors import UserError
from parity.files import file_sha256, write_json
from parity.framework import Framework, TensorInfo
from parity.weights.convert import model_tensors, write_verified
from parity.weights.coverage import match
from parity.weights.formats import load, suffix_of, weights_sha256
from parity.weights.init_rules import Request, default
from parity.weights.models import FACTS
from parity.weights.models.facts import ModelFacts


def initialize(model: str, tensors: list[TensorInfo], seed: int, options: Options) -> dict[str, np.ndarray]:
    """Initial values of every tensor, in the order and with the shapes and dtypes of `tensors`.

    `options` are the model's resolved hyper-parameters. Raises UserError for a model without rules.
    """
    if model not in FACTS:
        raise UserError(f"model {model!r}: has no initialisation rules, expected one of {', '.join(FACTS)}")
    if seed < 0:
        raise UserError(f"seed {seed}: expected a natural number")
    shapes = {info.name: tuple(info.shape) for info in tensors}
    return {info.name: _fill(FACTS[model], info, shapes, seed, options) for info in tensors}


def _fill(facts: ModelFacts, info: TensorInfo, shapes: dict, seed: int, options: Options) -> np.ndarray:
    key = info.name
    for pattern, replacement in facts.shared:
        key = re.sub(pattern, replacement, key)
    sequence = np.random.SeedSequence([seed, zlib.crc32(key.encode())])
    request = Request(info.name, shapes[info.name], shapes, options, np.random.Generator(np.random.PCG64(sequence)))
    rule = next((rule for pattern, rule in facts.rules if re.fullmatch(pattern, info.name)), None) or default(request)
    if rule is None:
        raise ValueError(f"{info.name}: no initialisation rule knows this tensor")
    return np.asarray(rule(request), np.dtype(info.dtype), order="C")


# ---- the verb `init`
def init_arguments(run: ResolvedConfig) -> list[str]:
    """What the verb `init` is told about a configuration: changed hyper-parameters, pretrained weights."""
    plain = models.model_config(run.model, run.variant, run.options["num_classes"]).options
    changed = [f"{key}={json.dumps(value)}" for key, value in run.options.items() if value != plain[key]]
    given = {f"--{key.replace('_', '-')}": v for key, v in sorted(run.init.plain().items()) if v is not False}
    pretrained = [part for flag, value in given.items() for part in ([flag] if value is True else [flag, value])]
    return [*pretrained, *(["--set", *changed] if changed else [])]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb `init`."""
    parser.add_argument("--model", required=True, help="Model name, e.g. rtdetr.")
    parser.add_argument("--variant", help="Variant of the model (its default one).")
    parser.add_argument("--num-classes", type=int, required=True, help="Number of classes of the model.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random values (0).")
    parser.add_argument("--out", required=True, metavar="FILE", help="Weights to write, usually init.safetensors.")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="An option of the model."
    )
    parser.add_argument("--weights", metavar="FILE|URL", help="Pretrained weights that replace random ones.")
    parser.add_argument("--sha256", metavar="HEX", help="SHA-256 that the pretrained file has to have.")
    parser.add_argument("--part", choices=("detector", "backbone"), help="What that file holds (found by its names).")
    parser.add_argument("--reset-classes", action="store_true", help="Start class heads anew if the classes differ.")
    parser.add_argument("--allow-missing", action="append", default=[], metavar="PATTERN", help="Tensors it may lack.")
    parser.add_argument("--allow-unused", action="append", default=[], metavar="PATTERN", help="Tensors to ignore.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """The verb `init`: write the weights and `<out>.report.json`."""
    suffix_of(args.out)
    tensors, config = model_tensors(framework_class, args.model, args.variant, args.num_classes, args.set)
    arrays = initialize(args.model, tensors, args.seed, config.options)
    pretrained, metadata = None, None
    if args.weights:
        pretrained = overlay(arrays, tensors, args)
        metadata = {"pretrained": json.dumps(_origin(pretrained))}
    report = {
        "model": args.model,
        "variant": config.variant,
        "num_classes": args.num_classes,
        "seed": args.seed,
        "output": Path(args.out).name,
        "verified": write_verified(args.out, arrays, metadata),
        "weights_sha256": weights_sha256(arrays),
        "pretrained": pretrained,
    }
    write_json(f"{args.out}.report.json", report)
    took = f", {pretrained['taken']} of them from {args.weights}" if pretrained else ""
    print(f"{args.out}: {len(arrays)} tensors of {args.model} {config.variant}, seed {args.seed}{took}")


def overlay(arrays: dict[str, np.ndarray], tensors: list[TensorInfo], args: argparse.Namespace) -> dict[str, Any]:
    """Replace entries of `arrays` by a pretrained file's, in place; returns the account of it for the report.

    A part that only training uses may be missing as a whole, and class heads of another number of classes may be left
    out (`--reset-classes`): both keep the seeded values.
    """
    path = local(args.weights, args.sha256, Path(args.out).parent)
    loaded = load(path)
    coverage = match(
        str(path), loaded, tensors, args.model, args.part, args.allow_missing, args.allow_unused, args.reset_classes,
        draw_missing=True,
    )  # fmt: skip
    arrays.update(coverage.arrays)
    for name, rows in coverage.box_rows.items():
        arrays[name][len(arrays[name]) - len(rows) :] = rows
    found = {"input": path.name, "input_sha256": file_sha256(path), "wrapper": loaded.wrapper}
    return {**found, "taken": len(coverage.arrays) - len(coverage.filled), **coverage.report()}


def _origin(pretrained: dict[str, Any]) -> dict[str, Any]:
    """The values that a later conversion reports: which pretrained file it was, and which tensors it lacked."""
    keys = ("input", "input_sha256", "wrapper", "part", "taken", "drawn", "reset_classes", "kept_box_rows")
    return {key: pretrained[key] for key in keys}
