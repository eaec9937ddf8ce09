"""A report on other people's logs: figures, audit, observations, like-for-like speed.

Runs in the workflow environment, best through `make compare-logs FIRST=path SECOND=path`, also by hand:
    python workflow/scripts/compare_logs.py jittor.log pytorch.log --names "Jittor,PyTorch" --model gfocalv2

A log is a file or a folder. `path#2` is the second run of a file that holds several; `train.log,test.log` fills the
gaps of the first file from the second. Without a second log the report is about the first alone.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.logs.read import read, state
from parity.report import imported

STATED = {"batch": "batch size", "images": "training images", "val_images": "validation images"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read, audit and compare the logs of two trainings.")
    parser.add_argument("first", help="log of the first run")
    parser.add_argument("second", nargs="?", default="", help="log of the second run")
    parser.add_argument("--names", default="", help='names of the two, separated by a comma, e.g. "Jittor,PyTorch"')
    parser.add_argument("--model", default="", help="name of the model, for titles and the folder")
    parser.add_argument("--out", default="", help="folder of the report; results/imported/<model and names> without it")
    parser.add_argument("--batch", default="", help='images per iteration where a log does not say: "1,2", or ",2"')
    parser.add_argument("--images", default="", help="training images, likewise")
    parser.add_argument("--val-images", default="", help="validation images, likewise")
    options = parser.parse_args(arguments)
    try:
        paths = [path for path in (options.first, options.second) if path]
        names = names_of(options.names, paths)
        runs = [read(path) for path in paths]
        for option, fact in STATED.items():
            for run, value in zip(runs, two(getattr(options, option), option), strict=False):
                if value:
                    state(run, fact, value)
        title = " and ".join(names) if len(names) > 1 else names[0]
        title = f"{options.model}: {title}" if options.model else title
        folder = Path(options.out or Path("results/imported") / slug([options.model, *names]))
        written, audit = imported.make(runs, names, title, folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    word = {None: "one log, nothing to compare", True: "comparable", False: "not comparable"}[audit.comparable]
    print(f"{word}; {', '.join(map(str, written))}")
    return 0


def two(text: str, option: str) -> list[str]:
    """The values of an option that holds one per log."""
    values = [value.strip() for value in text.split(",")] if text else []
    if len(values) > 2:
        raise UserError(f"{option}: {text!r}, expected one value per log, separated by a comma")
    return values


def names_of(text: str, paths: list[str]) -> list[str]:
    """Names of the sides: those given, otherwise file names, otherwise "first" and "second"."""
    if text:
        names = two(text, "NAMES")
        if len(names) < len(paths) or not all(names):
            raise UserError(f'NAMES={text!r}: expected {len(paths)} names, e.g. NAMES="Jittor,PyTorch"')
        names = names[: len(paths)]
    else:
        names = [Path(path.split(",")[0]).name.partition("#")[0] for path in paths]
    return (
        names
        if len(set(names)) == len(names)
        else [f"{name} ({n})" for name, n in zip(names, ("first", "second"), strict=True)]
    )


def slug(words: list[str]) -> str:
    """A folder name made of words: letters, digits and hyphens."""
    text = "-".join(re.sub(r"[^\w.]+", "-", word).strip("-.").lower() for word in words if word)
    return text[:80] or "logs"


if __name__ == "__main__":
    sys.exit(main())
