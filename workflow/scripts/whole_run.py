"""Compare steps over a whole training that two frameworks took from the same states.

    python workflow/scripts/whole_run.py --frameworks torch jittor --steps RUN/steps --run RUN --out whole_run.json

RUN is the run of the first framework that kept the states; `--steps` holds a folder of each framework. Prints the
verdict; a failed comparison is told in the report and is no error here.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.align.whole_run import judge, told
from parity.errors import UserError
from parity.files import write_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frameworks", required=True, nargs=2, help="The first one trained the run.")
    parser.add_argument("--steps", required=True, type=Path, help="Folder that holds the folders of the verb `steps`.")
    parser.add_argument("--run", required=True, type=Path, help="Folder of the run.")
    parser.add_argument("--out", required=True, type=Path, help="The file to write.")
    args = parser.parse_args()
    try:
        found = judge(*(args.steps / name for name in args.frameworks), args.run)
        write_json(args.out, found)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(told(found)))
