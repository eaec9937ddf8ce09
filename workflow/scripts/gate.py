"""Say what the alignment ladder found, and end with status 1 when a rung fails or is incomplete.

With --out the gate opens all the same for two things, and says so. The AP of weights that detect something can only be
compared after the training. A framework that is too far from float64 computes the same, only less precisely. Without
--out (`make align`) both are errors.

    python workflow/scripts/gate.py --alignment alignment.json [--out gate.txt] [--off]

With --out the verdict is written there; training starts only when that file exists. --off lets training start
whatever the verdict is, and the file says so.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.align.ladder import failures, imprecise, postponed, summary
from parity.errors import UserError
from parity.files import read_json, write_text

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alignment", required=True, type=Path, help="What align.py wrote.")
    parser.add_argument("--out", type=Path, help="The file to write when training may start.")
    parser.add_argument("--off", action="store_true", help="Let training start whatever the verdict is.")
    args = parser.parse_args()
    try:
        alignment = read_json(args.alignment)
        lines, failed = summary(alignment), failures(alignment)
        print("\n".join([*lines, *imprecise(alignment)]))
        later = args.out is not None and postponed(alignment)
        if later:
            print("training may start: the report repeats rung 10 with the final weights")
        if args.out is None:
            failed += imprecise(alignment)
        if failed and not args.off and not later:
            hint = "" if args.out is None else "\ntraining does not start; `align: {gate: false}` trains nevertheless"
            sys.exit("\n".join(f"error: {line}" for line in failed) + hint)
        if args.out:
            write_text(args.out, "\n".join(["gate off, " + lines[-1] if args.off else lines[-1], *failed]) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
