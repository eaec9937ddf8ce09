"""Snakemake itself is killed: the same command goes on, and two at once are refused."""

import fcntl
import os
import signal
import subprocess
import sys
import time

TARGET = "results/rtdetr/weights/published.txt"


def test_after_a_kill_the_same_command_goes_on(project):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", TARGET]
    process = subprocess.Popen(command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    locks = project.folder / ".snakemake/locks"
    while not (locks.is_dir() and any(locks.iterdir())):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert any(locks.iterdir())  # what Snakemake alone would refuse
    again = project.snakemake(TARGET)
    assert again.returncode == 0, again.stdout
    assert (project.folder / TARGET).exists() and not list(locks.glob("*"))


def test_locks_of_a_snakemake_that_is_alive_are_left_alone(project):
    locks = project.folder / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    (locks / "0.output.lock").write_text(f"{TARGET}\n")
    with open(project.folder / ".snakemake/alive.lock", "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        run = project.snakemake(TARGET)
    assert run.returncode != 0 and "cannot be locked" in run.stdout
    assert len(list(locks.iterdir())) == 2
