"""Compare the probes of two frameworks, rung by rung, and write alignment.json.

    python workflow/scripts/align.py --first DIR [--second DIR] --out alignment.json [--strict] [--untrained]

Prints one line per rung. With --strict the exit status is 1 when a rung fails or is incomplete, or the second
framework is too far from float64. Without --second only the checks that need one framework are made.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.align.files import Probe
from parity.align.ladder import climb, failures, imprecise, summary
from parity.errors import UserError
from parity.files import write_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", required=True, type=Path, help="Folder of the reference framework's probe.")
    parser.add_argument("--second", type=Path, help="Folder of the other framework's probe.")
    parser.add_argument("--called", help="What the other framework is called, where its name says too little.")
    parser.add_argument("--untrained", action="store_true", help="Leave out the rungs that need a training: 9 and 10.")
    parser.add_argument("--out", required=True, type=Path, help="The file to write.")
    parser.add_argument("--strict", action="store_true", help="Exit with status 1 when a rung fails or is incomplete.")
    args = parser.parse_args()
    try:
        second = Probe(args.second, args.called) if args.second else None
        alignment = climb(Probe(args.first), second, trained=not args.untrained)
        write_json(args.out, alignment)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(summary(alignment)))
    problems = failures(alignment) + imprecise(alignment)
    for line in problems:
        print(line, file=sys.stderr)
    sys.exit(1 if args.strict and problems else 0)
