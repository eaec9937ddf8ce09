"""A run that began in PyTorch goes on in Jittor, and the reverse, through the checkpoint's file alone.

Each framework runs in its own environment. What is measured is the loss at the steps after the joint, against the run
that stayed in its framework: the frameworks' ordinary difference, no jump.
"""

import json
import os
import subprocess
from pathlib import Path

import interrupted
import numpy as np
import pytest
from interpreters import interpreter

from parity.report.figures.continued import differences

ROOT = Path(__file__).resolve().parents[1]


JOINT = 3  # of eight steps, in the middle of the first epoch


def train(framework: str, settings: Path, out: Path) -> None:
    python = interpreter(framework)
    command = [str(python), "tests/interrupted.py", framework, "--child", str(settings), str(out), "0", "9"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of the runs torch, jittor, torch-jittor and jittor-torch."""
    folder = tmp_path_factory.mktemp("continued")
    run = interrupted.prepare("torch", folder)
    command = [str(interpreter("torch")), "tests/interrupted.py", "torch", "--weights", str(folder / "run.json")]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    for first, second in (("torch", "jittor"), ("jittor", "torch")):
        own = run | {"framework": first, "keep_checkpoints": 100, "framework_options": {}}
        (folder / f"{first}.json").write_text(json.dumps(own))
        train(first, folder / f"{first}.json", folder / first)
        source = str(folder / f"{first}/checkpoints/step-{JOINT:08d}.safetensors")
        (folder / "next.json").write_text(json.dumps(own | {"framework": second, "continue_from": source}))
        train(second, folder / "next.json", folder / f"{first}-{second}")
    return folder


@pytest.mark.parametrize(("first", "second"), [("torch", "jittor"), ("jittor", "torch")])
def test_the_loss_goes_on_without_a_jump(runs, first, second):
    steps, apart = differences(runs / first, runs / f"{first}-{second}")
    assert steps.tolist() == list(range(JOINT + 1, 9))
    assert apart[0] < 1e-4, apart  # one step: nothing but the frameworks' rounding
    ordinary = differences(runs / "torch", runs / "jittor")[1]  # from the same initial weights
    assert np.median(apart) <= 10 * np.median(ordinary) + 1e-5, (apart, ordinary)


def test_the_joint_is_recorded(runs):
    record = json.loads((runs / "torch-jittor/run.json").read_text())
    assert record["framework"] == "jittor"
    assert record["continued_from"]["framework"] == "torch" and record["continued_from"]["step"] == JOINT
