"""A real Slurm of one node, started for the tests: controller, node daemon and munge from the distribution's packages.

The machine pretends to have 8 cores, 64 GB and one GPU (the device file is /dev/null). Everything runs as root on the
loopback interface, without systemd, cgroups or accounting; `.ci/run` installs the packages. The configuration must lie
in /etc/slurm, because the steps of a job do not see SLURM_CONF; a machine with a Slurm of its own is left alone.
"""

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from standin_project import Project

ROOT = Path(__file__).resolve().parents[2]


PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
MARK = "ClusterName=detectorparity"
SETTINGS = Path("/etc/slurm")

SLURM_CONF = """{mark}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=36817
SlurmdPort=36818
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MinJobAge=3600
ReturnToService=2
KillWait=2
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def obstacle() -> str | None:
    """Why Slurm cannot be started here; None when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no Slurm here: {', '.join(missing)} missing (.ci/run installs slurmctld slurmd munge slurm-client)"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is not installed"
    if os.geteuid() != 0:
        return "the daemons of Slurm are started as root"
    if (SETTINGS / "slurm.conf").exists() and MARK not in (SETTINGS / "slurm.conf").read_text():
        return f"{SETTINGS}/slurm.conf belongs to another Slurm, which is left alone"
    return None


class Cluster:
    """The running Slurm."""

    def jobs(self) -> dict[str, list[dict[str, str]]]:
        """Every job so far by the rule it ran, as `scontrol show job` describes it, in order of submission."""
        text = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True, check=True).stdout
        found: dict[str, list[dict[str, str]]] = {}
        for line in text.splitlines():
            facts = dict(part.split("=", 1) for part in line.split() if "=" in part)
            if "Comment" in facts:
                found.setdefault(facts["Comment"].removeprefix("rule_").split("_wildcards")[0], []).append(facts)
        return found

    def queue(self) -> list[str]:
        """Numbers of the jobs that wait or run."""
        return subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True).stdout.split()


class SlurmProject(Project):
    """The project with stand-ins for its frameworks, whose jobs go through Slurm."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.started: list[subprocess.Popen] = []
        self.record = folder / "said.txt"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Snakemake with the project's profile and what a cluster without accounting needs, beside the test."""
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--latency-wait", "5"]
        command += ["--slurm-no-account", "--slurm-status-command", "squeue"]
        command += ["--slurm-init-seconds-before-status-checks", "1", *arguments]
        with open(self.record, "a") as said:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=said, stderr=subprocess.STDOUT, env=os.environ | environment,
                # tests that were started in the background ignore Ctrl-C, and so would everything they start
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        self.started.append(process)
        return process

    def said(self) -> str:
        return self.record.read_text()

    def stop(self, cluster: Cluster) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
        for number in cluster.queue():
            subprocess.run(["scancel", number])
