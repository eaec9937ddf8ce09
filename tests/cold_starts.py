"""Start Jittor again and again with no compiled operators, and count the crashes.

    .venvs/jittor/bin/python tests/cold_starts.py --home /tmp/cold --starts 50
    use_parallel_op_compiler=16 .venvs/jittor/bin/python tests/cold_starts.py ...      # as Jittor does by itself

The core is compiled once into a cache of its own under `--home`; before every start the operators in it are deleted.
A start trains two linear layers and a convolution for two steps, about forty operators. `--step` takes a training step
of a very small RT-DETR instead, about 250.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHORT = """
import numpy as np
from jittor_impl.runtime import jt
jt.set_global_seed(0)
class Net(jt.nn.Module):
    def __init__(self):
        self.conv = jt.nn.Conv(3, 8, 3, padding=1)
        self.first, self.second = jt.nn.Linear(8, 16), jt.nn.Linear(16, 4)
    def execute(self, x):
        y = jt.nn.relu(self.conv(x)).mean(3).transpose(0, 2, 1)
        return self.second(jt.sigmoid(self.first(y)))
net = Net()
optimizer = jt.optim.AdamW(net.parameters(), lr=1e-3)
x = jt.array(np.random.default_rng(0).random((2, 3, 8, 8)).astype("float32"))
for _ in range(2):
    loss = (net(x) - 1).sqr().mean()
    optimizer.step(loss)
    jt.sync_all(True)
print("loss", float(loss.item()).hex())
"""
STEP = """
import sys
sys.path[:0] = ["tests", "tests/jittor_impl"]
import conftest
from jittor_impl.framework import JittorFramework
from parity.config.models import model_config
from parity.data.draws import Draws
framework = JittorFramework("cpu", 1, {"ops": "fast"})
framework.seed(0)
framework.build("rtdetr", model_config("rtdetr", "tiny", 3, conftest.SMALL).options)
result = framework.forward_backward(conftest.batch.__wrapped__()(), Draws(0), 0)
print("loss", float(result.total).hex())
"""


def start(code: str, home: Path) -> tuple[str, float, int]:
    """Delete the operators and run `code`; returns how it ended, its seconds and how many operators it compiled."""
    for folder in home.glob(".cache/jittor/jt*/**/jit"):
        shutil.rmtree(folder)
        folder.mkdir()
    variables = os.environ | {"PARITY_JITTOR_HOME": str(home), "PYTHONPATH": str(ROOT)}
    begin = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    operators = len(list(home.glob(".cache/jittor/jt*/**/jit/*.so")))
    said = [line for line in run.stdout.splitlines() if line.startswith("loss")]
    if run.returncode == 0 and said:
        return said[0], seconds, operators
    last = (run.stderr.strip().splitlines() or ["no word"])[-1]
    return f"ended with {run.returncode}: {last[:200]}", seconds, operators


def main() -> int:
    """Returns 0 when every start came to the same loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="Folder of a cache that nothing else uses.")
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--step", action="store_true", help="A training step of a very small RT-DETR.")
    args = parser.parse_args()
    home = args.home.resolve()
    if (home / "Snakefile").exists() or home == Path(os.environ.get("PARITY_JITTOR_HOME", ROOT)).resolve():
        parser.error(f"--home {args.home}: the cache there is in use, expected a folder of its own")
    home.mkdir(parents=True, exist_ok=True)
    ends: Counter[str] = Counter()
    for number in range(1, args.starts + 1):
        end, seconds, operators = start(STEP if args.step else SHORT, home)
        ends[end] += 1
        print(f"start {number}: {end}, {operators} operators, {seconds:.0f} s", flush=True)
    print(f"\n{args.starts} starts:")
    for end, count in ends.most_common():
        print(f"  {count:3d}  {end}")
    return int(len(ends) != 1 or not next(iter(ends)).startswith("loss"))


if __name__ == "__main__":
    sys.exit(main())
