"""The default DAG with both frameworks through Slurm, from data to report, on a model that takes seconds to train.

A training is killed under it, as a node without memory would do; Slurm gets it again, and it goes on.
"""

import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from slurm_cluster import ROOT, SlurmProject

SETTINGS = {
    "checkpoint_minutes": 0,  # one at the end of every epoch
    "threads": 1,  # jobs overlap on a node that pretends to have 8 cores
    "data": {"name": "few", "synthetic": {"train_images": 16, "val_images": 8, "image_size": [48, 64]}},
    "align": {"gate": False, "images": 1, "steps": 5, "trajectory_steps": 2},  # no AP after two steps: incomplete
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
    """This checkout itself, because Jittor's operators belong to the path of its environment; results apart."""

    def __init__(self, folder):
        self.folder, self.results, self.started = ROOT, folder / "results", []
        self.file = folder / "few.yaml"
        self.file.write_text(yaml.safe_dump(SETTINGS | {"results": str(self.results)}))
        self.record = folder / "said.txt"


@pytest.fixture
def real(cluster, tmp_path):
    made = RealProject(tmp_path)
    yield made
    made.stop(cluster)


def trainings(project) -> list[int]:
    """Processes that train in PyTorch and have written a checkpoint of their run."""
    if not list(project.results.glob("rtdetr/runs/torch/*/checkpoints/*.safetensors")):
        return []
    pattern = f"[t]orch_impl train --config {project.results}"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True).stdout
    return [int(number) for number in found.split()]


def test_the_default_dag_comes_through_a_killed_training(cluster, real):
    begun = len(cluster.jobs().get("train", []))
    running = real.start(str(real.results / "rtdetr/report.md"), "--configfile", str(real.file))
    limit = time.monotonic() + 1200
    while not (found := trainings(real)):
        assert running.poll() is None and time.monotonic() < limit, real.said()
        time.sleep(0.1)
    os.kill(max(found), signal.SIGKILL)  # the innermost: the training itself, not the shells around it
    assert running.wait(1200) == 0, real.said()

    jobs = cluster.jobs()
    states = [job["JobState"] for job in jobs["train"][begun:]]
    memory = [job["MinMemoryNode"] for job in jobs["train"][begun:]]
    assert sorted(zip(states, memory, strict=True)) == [
        ("COMPLETED", "12000M"),
        ("COMPLETED", "6000M"),
        ("FAILED", "6000M"),
    ]
    (log,) = real.results.glob("rtdetr/runs/torch/*/train.log")
    assert "continues after epoch" in log.read_text()
    epochs = {}
    for framework in ("torch", "jittor"):
        (metrics,) = real.results.glob(f"rtdetr/runs/{framework}/*/metrics.jsonl")
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        epochs[framework] = [line["epoch"] for line in lines if line["kind"] == "epoch"]
    assert epochs["torch"] == epochs["jittor"] == list(range(1, 41))

    ladder = json.loads((real.results / "rtdetr/alignment/alignment.json").read_text())
    assert [rung["rung"] for rung in ladder["rungs"] if rung["verdict"] != "pass"] == [10], ladder["rungs"]
    assert ladder["verdict"] == "incomplete"
    report = (real.results / "rtdetr/report.md").read_text()
    assert report.startswith("# RT-DETR") and "> **Comparable.**" in report
    assert {"profile", "probe", "weights", "cross_predict", "figures", "report"} <= set(jobs)
