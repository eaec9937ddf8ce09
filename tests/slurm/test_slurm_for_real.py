"""The default DAG with both frameworks through Slurm, from data to report, on a model that takes seconds to train.

A training is killed under it, as a node without memory would do; Slurm gets it again, and it goes on.
"""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import yaml
from conftest import ROOT, SlurmProject

SETTINGS = {
    "checkpoint_minutes": 0,  # one at the end of every epoch
    "data": {"name": "few", "synthetic": {"train_images": 16, "val_images": 8, "image_size": [48, 64]}},
    "align": {"images": 1, "steps": 1, "trajectory_steps": 2},
    "profile": {"images": 4, "steps": 2, "warmup": 2, "stock": False},
    "figures": {"dpi": 60},
    "models": {
        "rtdetr": {
            "options": {
                "num_queries": 20,
                "num_denoising": 12,
                "hidden_dim": 32,
                "decoder_hidden_dim": 32,
                "base_width": 8,
                "decoder_layers": 2,
                "csp_blocks": 1,
            },
            "preprocess": {"size": 64},
            "train": {"epochs": 40, "batch_size": 4, "multi_scale": [], "eval_every": 40},
        }
    },
}


class RealProject(SlurmProject):
    """A copy of the project with its own frameworks, in the environments and with the operators of this checkout."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        kept_apart = shutil.ignore_patterns(".git", ".venvs", ".cache", ".snakemake", "results", "__pycache__")
        shutil.copytree(ROOT, folder, symlinks=True, ignore=kept_apart)
        (folder / ".venvs").symlink_to((ROOT / ".venvs").resolve())
        (folder / "few.yaml").write_text(yaml.safe_dump(SETTINGS))


@pytest.fixture
def real(cluster, tmp_path):
    made = RealProject(tmp_path / "project")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
    for number in cluster.queue():
        subprocess.run(["scancel", number])


def trainings(project) -> list[int]:
    """Processes that train in PyTorch and have written a checkpoint of their run."""
    (*runs,) = project.folder.glob("results/rtdetr/runs/torch/*/checkpoints/*.safetensors")
    found = subprocess.run(["pgrep", "-f", "[t]orch_impl train --config results"], capture_output=True, text=True)
    own = [int(n) for n in found.stdout.split() if os.readlink(f"/proc/{n}/cwd") == str(project.folder.resolve())]
    return own if runs else []


def test_the_default_dag_comes_through_a_killed_training(cluster, real):
    begun = len(cluster.jobs().get("train", []))
    arguments = ("results/rtdetr/report.md", "--configfile", "few.yaml", "--config", "device=cpu")
    running = real.start(*arguments, PARITY_JITTOR_HOME=os.environ.get("PARITY_JITTOR_HOME", str(ROOT)))
    limit = time.monotonic() + 1200
    while not (found := trainings(real)):
        assert running.poll() is None and time.monotonic() < limit, real.said()
        time.sleep(0.1)
    os.kill(max(found), signal.SIGKILL)
    assert running.wait(1200) == 0, real.said()

    jobs = cluster.jobs()
    states = [job["JobState"] for job in jobs["train"][begun:]]
    memory = [job["MinMemoryNode"] for job in jobs["train"][begun:]]
    assert sorted(zip(states, memory, strict=True)) == [
        ("COMPLETED", "12000M"),
        ("COMPLETED", "6000M"),
        ("FAILED", "6000M"),
    ]
    (log,) = real.folder.glob("results/rtdetr/runs/torch/*/train.log")
    assert "continues after epoch" in log.read_text()
    epochs = {}
    for framework in ("torch", "jittor"):
        (metrics,) = real.folder.glob(f"results/rtdetr/runs/{framework}/*/metrics.jsonl")
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        epochs[framework] = [line["epoch"] for line in lines if line["kind"] == "epoch"]
    assert epochs["torch"] == epochs["jittor"] == list(range(1, 41))

    ladder = json.loads((real.folder / "results/rtdetr/alignment/alignment.json").read_text())
    assert ladder["verdict"] == "pass"
    report = (real.folder / "results/rtdetr/report.md").read_text()
    assert "comparable" in report.splitlines()[2] or "comparable" in report[:2000]
    assert {"profile", "probe", "weights", "cross_predict", "figures", "report"} <= set(jobs)
