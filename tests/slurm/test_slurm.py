"""The workflow through a real Slurm: what jobs ask for, and that a training survives what clusters do to it."""

import json
import signal
import subprocess
import time

TRAIN = ("--until", "train", "--config", "framework=torch", "device=cuda")
MEASURE = ("--until", "publish_profile", "--config", "framework=torch", "device=auto")  # no GPU is visible: the CPU


def resumed(project) -> list[bool]:
    """For every start of the run: did it find a checkpoint?"""
    (metrics,) = project.folder.glob("results/rtdetr/runs/torch/*/metrics.jsonl")
    return [json.loads(line)["resumed"] for line in metrics.read_text().splitlines()]


def until(true, what: str, seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, f"{what}: not within {seconds} s"
        time.sleep(0.5)


def training(project) -> bool:
    """Whether a training has begun and written its checkpoint."""
    return bool(list(project.folder.glob("results/rtdetr/runs/torch/*/checkpoints/step")))


def test_a_killed_training_comes_back_with_more_memory_and_goes_on(cluster, project):
    assert project.start(*TRAIN, STANDIN_KILLED="once").wait(300) == 0, project.said()
    assert resumed(project) == [False, True]
    jobs = cluster.jobs()
    first, second = jobs["train"][-2:]
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    assert "gres:gpu:1" in first["TresPerJob"]
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("6000M", "12000M")
    assert first["TimeLimit"] == "12:00:00"
    assert "run_config" not in jobs and "gate" not in jobs, "a moment's work went through the queue"
    assert list(project.folder.glob(".venvs/torch-*/.ready")), "the environment was not built on the submit host"


def test_a_measurement_has_its_node_to_itself(cluster, project):
    assert project.start(*MEASURE, CUDA_VISIBLE_DEVICES="").wait(300) == 0, project.said()
    jobs = cluster.jobs()
    assert jobs["profile"][-1]["OverSubscribe"] == "NO"
    assert jobs["weights"][-1]["OverSubscribe"] == "OK"
    assert "gpu" not in str(jobs["profile"][-1]), "a GPU was asked for on a CPU"


def test_scancel_and_ctrl_c_leave_checkpoints_and_the_same_command_goes_on(cluster, project):
    running = project.start(*TRAIN, "--retries", "0", STANDIN_WAITS="until cancelled")
    until(lambda: training(project), "the training")
    (number,) = cluster.queue()
    subprocess.run(["scancel", number], check=True)
    assert running.wait(300) == 1, project.said()
    (checkpoint,) = project.folder.glob("results/rtdetr/runs/torch/*/checkpoints/step")
    checkpoint.unlink()  # so that the stand-in waits once more
    running = project.start(*TRAIN, STANDIN_WAITS="until interrupted")
    until(lambda: training(project), "the second training")
    running.send_signal(signal.SIGINT)
    assert running.wait(300) == 1, project.said()
    # Snakemake cancels its jobs, but not one whose state it is just asking for (docs/cluster.md); on a busy machine it
    # asks most of the time.
    if left := cluster.queue():
        subprocess.run(["scancel", *left], check=True)
    until(lambda: not cluster.queue(), "an empty queue")
    assert project.start(*TRAIN).wait(300) == 0, project.said()
    assert resumed(project) == [False, False, True]
