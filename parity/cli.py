"""The command line of a framework: `python -m torch_impl <verb>`, `python -m jittor_impl <verb>`.

Every verb lives in one module with `add_arguments(parser)` and `run(args, framework_class)`. A user's mistake ends with
status 2 and one line on stderr; a bug keeps its traceback.
"""

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence

from parity.errors import UserError
from parity.framework import Framework

VERBS = {  # verb: (module, one sentence)
    "init": ("parity.weights.initialize", "Write initial weights: seeded, optionally overlaid with a pretrained file."),
    "convert": (
        "parity.weights.convert",
        "Convert weights between .pth, .safetensors and .pkl, with a coverage report.",
    ),
    "trace": ("parity.align.trace", "Write what the model computes for given weights and inputs, to be compared."),
    "probe": ("parity.align.probe", "Write what the alignment of two frameworks is judged by."),
    "steps": ("parity.align.take_steps", "Take steps of a finished training again, from the states that it kept."),
    "train": ("parity.train.train", "Train one run from its resolved configuration, resuming if it was interrupted."),
    "predict": ("parity.train.predict", "Detect objects in the validation images with given weights."),
    "exam": ("parity.train.exam", "Score given weights on the validation images: COCO metrics and the training loss."),
    "detect": ("parity.detect.detect", "Detect objects on your own images, drawn and as COCO results."),
    "profile": ("parity.measure.profile", "Measure latency, training step time and memory, alone on the machine."),
}
# Errors of a disk or a directory, which any program can meet. Any other OSError is a bug of this project.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class Parser(argparse.ArgumentParser):
    """argparse that complains in one line."""

    def error(self, message: str):
        raise UserError(f"{self.prog}: {message}")


def main(framework_class: type[Framework], arguments: Sequence[str] | None = None) -> int:
    """Parse and run one verb; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(
        prog=f"python -m {framework_class.name}_impl",
        description=f"The {framework_class.name} side of the comparison. Each verb explains itself with --help.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for verb, (module, sentence) in VERBS.items():
        sub = verbs.add_parser(verb, help=sentence, description=sentence)
        if arguments[:1] == [verb]:  # import only what is asked for
            importlib.import_module(module).add_arguments(sub)
    try:
        args = parser.parse_args(arguments)
        importlib.import_module(VERBS[args.verb][0]).run(args, framework_class)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        print(f"{error.filename or args.verb}: {error.strerror}", file=sys.stderr)
        return 2
    return 0
