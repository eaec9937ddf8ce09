"""Where a job runs: what `auto` means, which cards may be used, and that no two jobs share one."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import devices
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"


SHOW = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('CUDA_DEVICE_ORDER'))"


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A stand-in for nvidia-smi that lists as many cards as asked for; locks of its own; nothing hidden."""

    def give(count: int) -> None:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        lines = "\n".join(f"GPU {i}: Fake Card (UUID: GPU-{i})" for i in range(count))
        program.write_text(f"#!/bin/sh\ncat <<X\n{lines}\nX\n" if count else "#!/bin/sh\nexit 9\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return give


def job(device: str, log: Path, code: str = SHOW, **environment: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPTS / "run_job.py"), "--device", device, str(log), "-c", code]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | environment, text=True, stdout=pipe, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(
    ("count", "allowed", "meant"),
    [
        (0, None, "cpu"),
        (2, None, "cuda"),
        (2, "1", "cuda"),
        (2, "GPU-1", "cuda"),
        (2, "", "cpu"),
        (2, "-1", "cpu"),
        (0, "0", "cpu"),
    ],
)
def test_auto_is_cuda_where_there_is_a_card_that_may_be_used(cards, count, allowed, meant):
    cards(count)
    environment = {} if allowed is None else {"CUDA_VISIBLE_DEVICES": allowed}
    assert devices.resolve("auto", environment) == meant
    assert devices.resolve("cuda:1", environment) == "cuda:1"


@pytest.mark.parametrize(
    ("device", "allowed", "seen"),
    [
        ("cpu", None, " None"),
        ("cuda", None, "0 PCI_BUS_ID"),
        ("cuda:1", None, "1 PCI_BUS_ID"),
        ("cuda:1", "3,2,0", "2 PCI_BUS_ID"),
    ],
)
def test_a_job_sees_one_card_or_none(cards, tmp_path, device, allowed, seen):
    cards(4)
    started = job(device, tmp_path / "log", **({"CUDA_VISIBLE_DEVICES": allowed} if allowed else {}))
    assert started.communicate()[0] == f"{seen}\n"
    assert started.returncode == 0


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:2", 2)])
def test_a_card_that_is_not_there_is_refused_in_one_line(cards, tmp_path, device, count):
    cards(count)
    started = job(device, tmp_path / "log")
    words = started.communicate()[0]
    assert words == f"error: device: {device}: {count} GPU(s) can be used here (nvidia-smi)\n"
    assert started.returncode == 1


def test_jobs_at_the_same_time_get_different_cards_and_a_third_waits(cards, tmp_path):
    cards(2)
    wait = SHOW + f"; import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.05)"
    first = [job("cuda", tmp_path / f"log{i}", wait) for i in range(2)]
    logs = [tmp_path / "log0", tmp_path / "log1"]
    limit = time.monotonic() + 60
    while not all(log.exists() and log.read_text() for log in logs) and time.monotonic() < limit:
        time.sleep(0.05)
    assert {log.read_text()[0] for log in logs} == {"0", "1"}
    third = job("cuda", tmp_path / "log2")
    assert third.stdout.readline() == "waiting for a GPU: 0, 1 taken by other jobs\n"
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in (*first, third)] == [0, 0, 0]


def test_the_workflow_names_runs_by_what_auto_means(empty_project, tmp_path, cards):
    cards(0)
    text = empty_project.snakemake("-n", "-p", "--config", "device=auto").stdout
    assert "device: auto means cpu here." in text
    assert "--device cpu" in text and '"device": "cpu"' in text and '"asked_device": "auto"' in text


def test_the_number_of_a_card_is_no_part_of_a_run(empty_project):
    first, second = (empty_project.snakemake("-n", "-p", "--config", f"device=cuda{n}").stdout for n in ("", ":1"))
    assert "--device cuda --threads" in first and "--device cuda:1 --threads" in second
    folders = [set(re.findall(r"rtdetr/(?:runs/\w+|profile|alignment)/[\w-]+", text)) for text in (first, second)]
    assert folders[0] == folders[1] and len(folders[0]) > 4


@pytest.mark.parametrize(("device", "needs"), [("cpu", {"gpu": 0, "turn": 1}), ("cuda:1", {"gpu": 1, "turn": 0})])
def test_a_card_is_asked_for_only_where_one_is_used(empty_project, device, needs):
    asking = empty_project.folder / "asking.smk"
    names = "train probe profile cross_predict"
    asking.write_text(
        'include: "Snakefile"\n'
        f"for name in {names.split()!r}:\n"
        "    asked = getattr(rules, name).rule.resources\n"
        f"    print('asks', name, {{key: asked[key].value for key in {list(needs)!r}}})\n"
    )
    text = empty_project.snakemake("--snakefile", "asking.smk", "--list-rules", "--config", f"device={device}").stdout
    assert [line for line in text.splitlines() if line.startswith("asks")] == [
        f"asks {name} {needs}" for name in names.split()
    ]
