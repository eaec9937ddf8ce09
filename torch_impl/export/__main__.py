"""Write a model as ONNX files: `python -m torch_impl.export --run FOLDER --out exported`, see --help."""

import argparse
import sys
from pathlib import Path

import onnx
import onnxruntime
import torch

from parity.cli import Parser
from parity.config.run import RunConfig
from parity.detect.detect import chosen
from parity.detect.model import load
from parity.errors import UserError
from parity.export import contract
from parity.files import atomic
from parity.weights import formats
from torch_impl.export.graph import graph
from torch_impl.framework import TorchFramework


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m torch_impl.export", description="Write a model as ONNX files.")
    parser.add_argument("--run", type=Path, help="Folder of a finished run of either framework.")
    parser.add_argument("--weights", type=Path, help="A weight file instead, in any format that convert reads.")
    parser.add_argument("--model", help="With --weights: the detector, for example nanodet.")
    parser.add_argument("--variant", help="With --weights: its variant, for example plus-m_320.")
    parser.add_argument("--names", type=Path, help="With --weights: a file with class names; COCO's 80 by default.")
    parser.add_argument("--format", default="onnx", help="onnx.")
    parser.add_argument("--batch", default="any", help="Images of a batch, a number or `any`.")
    parser.add_argument("--size", default="any", help="`any`, or `fixed`: the model's own input size.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the files.")
    parser.add_argument("--state", type=Path, help="A file for the weights under official names, for the check.")
    return parser.parse_args(given)


def export(args: argparse.Namespace) -> list[Path]:
    """Write <model>-<variant>.onnx and the same with -raw; returns the files.

    Raises UserError for a wrong argument, before anything is written.
    """
    if args.format not in contract.FORMATS:
        raise UserError(f"FORMAT: {args.format!r} is unknown, expected {' or '.join(contract.FORMATS)}")
    batch = contract.batch_of(args.batch)
    detector = chosen(args)
    for key in ("model", "variant"):
        asked, found = getattr(args, key), getattr(detector.config, key)
        if asked is not None and asked != found:
            raise UserError(f"{key.upper()}: {asked!r} was asked for, but {args.run} is a run of {found}")
    size = contract.size_of(args.size, detector.config)
    framework = TorchFramework("cpu")
    absent = load(framework, detector)
    state = framework.state()
    digest = formats.weights_sha256(state)
    trained_by = detector.config.framework if isinstance(detector.config, RunConfig) else None
    if trained_by == "jittor" or detector.weights.suffix == ".pkl":
        print(f"{detector.weights}: weights of Jittor, exported through the PyTorch model of the same name")
    if absent:
        print(f"{detector.weights}: {len(absent)} tensors that only training uses are not in the file", file=sys.stderr)
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    written = []
    name = detector.config.model
    for outputs in (contract.DETECTIONS, contract.RAW):
        about = contract.metadata(detector, outputs, batch, size, digest, trained_by, versions)
        content = graph(name, framework.model, outputs == contract.DETECTIONS, batch, size, about)
        written.append(args.out / contract.file_name(name, detector.config.variant, outputs))
        with atomic(written[-1]) as temporary:
            temporary.write_bytes(content)
    if args.state:
        formats.write(args.state, state)
    return written


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    try:
        for path in export(arguments(given)):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
