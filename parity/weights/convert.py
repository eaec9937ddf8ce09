"""`convert`: weights between `.pth`, `.safetensors` and `.pkl`, with a report of where every tensor went.

    python -m torch_impl convert --input rtdetr_r18vd.pth --output r18vd.safetensors --model rtdetr --variant r18vd
    python -m jittor_impl convert --input r18vd.safetensors --output r18vd.pkl

With --model the names, shapes and types are checked against the model; without it every tensor keeps its own. The
output is read back and compared bit for bit before the command says that it is done; on any error nothing is left.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from parity.config.layers import parse_settings
from parity.config.model import ModelConfig
from parity.config.models import model_config
from parity.errors import UserError
from parity.files import file_sha256, write_json
from parity.framework import Framework, TensorInfo
from parity.weights.coverage import describe, dtype_name, match
from parity.weights.formats import PthReader, load, read, read_metadata, suffix_of, weights_sha256, write
from parity.weights.pth import read_pth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb `convert`."""
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="Weights to read: .pth, .pt, .safetensors, .pkl."
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="Weights to write; the suffix is the format.")
    parser.add_argument("--model", help="Check names and shapes against this model (otherwise every tensor is kept).")
    parser.add_argument("--variant", help="Variant of the model.")
    parser.add_argument("--num-classes", type=int, default=80, help="Number of classes of the model (80).")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="An option of the model."
    )
    parser.add_argument("--part", choices=("detector", "backbone"), help="What the input holds (found by its names).")
    for flag, sentence in (
        ("--allow-missing", "Accept that the input lacks tensors of the model whose names fit"),
        ("--allow-unused", "Accept tensors of the input that the model does not know and whose names fit"),
    ):
        parser.add_argument(
            flag, action="append", default=[], metavar="PATTERN", help=f"{sentence} (glob or regex; repeatable)."
        )


def model_tensors(
    framework_class: type[Framework], model: str, variant: str | None, classes: int | None, settings: list[str]
) -> tuple[list[TensorInfo], ModelConfig]:
    """Tensor list and resolved configuration of a model, as the framework builds it."""
    config = model_config(model, variant, classes, parse_settings(settings))
    framework = framework_class()
    framework.build(model, config.options)
    return framework.tensors(), config


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """The verb `convert`."""
    if args.model is None and (args.variant or args.part or args.set):
        raise UserError("--variant, --part and --set describe a model: give --model too")
    suffix_of(args.output)
    tensors = None
    if args.model is not None:
        tensors, _ = model_tensors(framework_class, args.model, args.variant, args.num_classes, args.set)
    report = convert(
        args.input,
        args.output,
        tensors,
        args.model,
        args.part,
        args.allow_missing,
        args.allow_unused,
    )
    print(
        f"{args.output}: {report['verified']} tensors, {len(report['unused_source'])} of the input unused, "
        f"{len(report['unfilled_target'])} of the model unfilled; report in {args.output}.report.json"
    )


def convert(
    source: str | Path,
    target: str | Path,
    model_tensors: list[TensorInfo] | None = None,
    model: str | None = None,
    part: str | None = None,
    allow_missing: list[str] | tuple[str, ...] = (),
    allow_unused: list[str] | tuple[str, ...] = (),
    pth_reader: PthReader = read_pth,
) -> dict[str, Any]:
    """Convert one file and write `<target>.report.json`; returns the report.

    `model_tensors` are the targets, None for the source's own tensors. Raises UserError, with nothing written, for an
    unreadable file and for tensors that do not fit.
    """
    source, target = Path(source), Path(target)
    suffix_of(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise UserError(f"{target}: is the input itself")
    loaded = load(source, pth_reader)
    tensors = describe(loaded.arrays) if model_tensors is None else model_tensors
    coverage = match(str(source), loaded, tensors, model, part, allow_missing, allow_unused)
    verified = write_verified(target, coverage.arrays)
    report = {
        "input": source.name,
        "input_sha256": file_sha256(source),
        "output": target.name,
        "output_sha256": file_sha256(target),
        "weights_sha256": weights_sha256(coverage.arrays),
        "wrapper": loaded.wrapper,
        "model": model,
        "verified": verified,
        "pretrained": pretrained(source),
        **coverage.report(),
    }
    write_json(f"{target}.report.json", report)
    return report


def pretrained(path: str | Path) -> dict[str, Any] | None:
    """The pretrained file laid over the initial weights, and the tensors that it lacked; None where there is none."""
    if Path(path).suffix.lower() != ".safetensors":
        return None
    text = read_metadata(path).get("pretrained")
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise UserError(f"{path}: its metadata `pretrained` is not JSON") from error


def write_verified(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> int:
    """Write a weights file, read it back and compare every tensor bit for bit; returns how many there are.

    A difference would be a bug of the writer or a failing disk; the file is then removed and RuntimeError raised.
    """
    write(path, arrays, metadata)
    back = read(path)
    for name in arrays.keys() | back.keys():
        if not (name in arrays and name in back and _same(arrays[name], back[name])):
            Path(path).unlink()
            raise RuntimeError(f"{path}: {name} does not come back as it was written")
    return len(back)


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    same = first.shape == second.shape and dtype_name(first) == dtype_name(second)
    return same and first.tobytes() == second.tobytes()
