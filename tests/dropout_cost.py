"""What dropout costs a training step of DETR r50 in one of the frameworks, where its numbers come from NumPy.

    .venvs/torch/bin/python tests/dropout_cost.py torch --data results/data/<name>-<hash>
    .venvs/jittor/bin/python tests/dropout_cost.py jittor --data results/data/<name>-<hash>

Both frameworks have to drop the same elements, so each mask is drawn by NumPy and given to both. The same model with
dropout (0.1) and without takes turns in one process. A cost that the frameworks share makes their ratio milder; one
that only PyTorch has would favour Jittor.
"""

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from official_step import Ours, first_batches, make_config, round_of  # noqa: E402
from turns import in_turns  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("framework", choices=("torch", "jittor"))
    parser.add_argument("--data", required=True, type=Path, help="A prepared dataset, results/data/<name>-<hash>.")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    module = importlib.import_module(f"{args.framework}_impl.framework")
    framework = getattr(module, f"{args.framework.capitalize()}Framework")
    steps = []
    for dropout in (0.1, 0.0):
        run = make_config("detr", args.data, dropout)
        steps.append(round_of(Ours(run, framework).step, first_batches(run)))
    print(f"{args.framework}, a step with dropout / without: {in_turns(*steps, args.rounds)}")


if __name__ == "__main__":
    main()
