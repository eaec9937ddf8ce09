"""Fixtures of the tests with a real Slurm: the cluster, once, and a project for each test."""

import os
import socket
import subprocess
import time

import pytest
from slurm_cluster import MARK, SETTINGS, SLURM_CONF, Cluster, SlurmProject, obstacle


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Slurm, up until the last test; skips with the reason where it cannot be started."""
    if why := obstacle():
        pytest.skip(why)
    os.environ["PATH"] += ":/usr/sbin"
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    (SETTINGS / "slurm.conf").write_text(SLURM_CONF.format(mark=MARK, host=host, folder=folder))
    (SETTINGS / "gres.conf").write_text(f"NodeName={host} Name=gpu Count=1 File=/dev/null\n")
    subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge"], check=True)
    munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground"]
    munged = subprocess.Popen(munge, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        subprocess.run(["slurmctld", "-c"], check=True)
        subprocess.run(["slurmd"], check=True)
        limit = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
            assert time.monotonic() < limit, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.25)
        yield Cluster()
    finally:
        subprocess.run(["scontrol", "shutdown"], capture_output=True)
        time.sleep(1)
        munged.terminate()
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink()


@pytest.fixture
def project(cluster, tmp_path):
    """A project of the test's own; what a failed test left running is stopped."""
    made = SlurmProject(tmp_path)
    yield made
    made.stop(cluster)
