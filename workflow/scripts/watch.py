"""Follow the runs of a model while they are trained: `watch.py results/nanodet [--frameworks torch,jittor]`.

On a terminal one screen is drawn again every second. In a pipe each new epoch is one line. It ends when every framework
has a run that has ended, or on Ctrl-C.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.run import FrameworkName
from parity.errors import UserError
from parity.train.watch import follow


def main() -> int:
    parser = argparse.ArgumentParser(description="Follow the runs of a model while they are trained.")
    parser.add_argument("results", type=Path, help="results of a model, e.g. results/nanodet")
    parser.add_argument("--frameworks", default="torch,jittor", help="whose runs, separated by commas")
    options = parser.parse_args()
    names, known = options.frameworks.split(","), get_args(FrameworkName)
    try:
        if not set(names) <= set(known) or len(set(names)) < len(names):
            raise UserError(f"FRAMEWORKS: {options.frameworks!r}, expected {', '.join(known)}, or {','.join(known)}")
        follow(options.results, names, sys.stdout, screen=sys.stdout.isatty())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # the reader of the pipe is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
