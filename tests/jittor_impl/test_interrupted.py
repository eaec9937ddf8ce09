"""A training in Jittor that is killed anywhere and called again ends with the same files.

Two points here; `KILLS=20` asks for more, `python tests/interrupted.py jittor` prints the table.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_training_ends_the_same():
    kills = os.environ.get("KILLS", "2")
    command = [sys.executable, "tests/interrupted.py", "jittor", "--kills", kills, "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"jittor: {kills} of {kills} identical" in run.stdout
