"""Take steps of a finished run again, and compare what two frameworks make of them (see parity/align/whole_run.py).

    .venvs/torch/bin/python  tests/whole_run/take.py torch  --config RUN/run.yaml   --run RUN --out first --nudge
    .venvs/jittor/bin/python tests/whole_run/take.py jittor --config other/run.yaml --run RUN --out second
    .venvs/workflow/bin/python tests/whole_run/take.py judge --first first --second second --run RUN --out out.json

`other/run.yaml` is the same configuration with `framework: jittor`; every run has it in `cross/jittor`. Ends with 1
where the comparison does not pass.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.align import whole_run
from parity.errors import UserError
from parity.files import write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    for name in ("torch", "jittor"):
        whole_run.add_arguments(tasks.add_parser(name, help=f"Take the steps in {name}."))
    judge = tasks.add_parser("judge", help="Compare two folders.")
    for option in ("--first", "--second", "--run", "--out"):
        judge.add_argument(option, required=True, type=Path)
    args = parser.parse_args()
    try:
        if args.task == "judge":
            found = whole_run.judge(args.first, args.second, args.run)
            write_json(args.out, found)
            print("\n".join(whole_run.told(found)))
            return int(found["verdict"] != "pass")
        if args.task == "torch":
            from torch_impl.framework import TorchFramework as Framework
        else:
            from jittor_impl.framework import JittorFramework as Framework
        whole_run.run(args, Framework)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
