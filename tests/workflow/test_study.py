"""`make study` end to end with stand-in frameworks in processes of their own, and its pages against the rows."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from made_up import row
from make_venv import venv_path
from test_runner import PROTOCOL, RECIPES

from parity.study.page import MARKS
from parity.study.rows import read_rows, write_rows

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORK = """import os, sys
assert os.environ["OMP_NUM_THREADS"] == "1"  # the protocol's threads
sys.path[:0] = [{tests!r}, {root!r}]
from numpy_framework import NumpyFramework
from parity.cli import main


class Own(NumpyFramework):
    name = {name!r}


sys.exit(main(Own))
"""


@pytest.fixture
def project(tmp_path):
    """The configuration of a small study, its pages, and two frameworks."""
    for name in ("config", "envs", "parity"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "config/study").glob("*.yaml"):
        path.unlink()
    (tmp_path / "config/study/protocol.yaml").write_text(yaml.safe_dump(PROTOCOL | {"looks": [2], "draws": 1}))
    (tmp_path / "config/study/rtdetr.yaml").write_text(yaml.safe_dump(RECIPES))
    for name in ("torch", "jittor"):
        package = tmp_path / f"{name}_impl"
        package.mkdir()
        text = FRAMEWORK.format(tests=str(ROOT / "tests/parity"), root=str(ROOT), name=name)
        (package / "__init__.py").touch()  # with it, the working directory's package comes before the project's
        (package / "__main__.py").write_text(text)
        folder = venv_path(tmp_path / f"envs/{name}.yaml").name
        (tmp_path / f".venvs/{folder}/bin").mkdir(parents=True)
        (tmp_path / f".venvs/{folder}/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (tmp_path / f".venvs/{folder}/bin/python").chmod(0o755)
    (tmp_path / "README.md").write_text(f"# Project\n\n{MARKS[0]}\n{MARKS[1]}\n")
    return tmp_path


def command(project, *words):
    return [str(word) for word in (sys.executable, ROOT / "workflow/scripts/study.py", "--root", project, *words)]


def study(project, *words):
    return subprocess.run(command(project, *words), capture_output=True, text=True, env=os.environ)


def test_one_command_runs_pairs_and_writes_the_pages(project):
    protocol = PROTOCOL | {"looks": [2], "draws": 1, "exam": {"images": 4, "seed": 5, "loss_images": 8}}
    (project / "config/study/protocol.yaml").write_text(yaml.safe_dump(protocol))
    first = study(project, "run", "rtdetr", "--start", "scratch")
    assert first.returncode == 0, first.stderr
    rows = read_rows(project / "docs/study/rtdetr.csv")
    assert len(rows) == 8 and {r.framework for r in rows} == {"torch", "jittor"} and all(r.done for r in rows)
    assert "rtdetr, scratch: 2 pairs, Jittor − PyTorch" in first.stdout
    assert "2 pairs" in (project / "docs/study/report.md").read_text()
    assert "| RT-DETR | scratch | 2 |" in (project / "README.md").read_text()
    assert study(project, "report", "--check").returncode == 0


def test_a_study_that_is_killed_takes_its_trainings_along_and_goes_on(project):
    """They would train on, and the next call would meet them and count a failed run."""
    slow, started, asked = project / "slow", project / "started", ("run", "rtdetr", "--start", "scratch")
    slow.touch()
    for name in ("torch", "jittor"):
        file = project / f"{name}_impl/__main__.py"
        wait = f"import os, pathlib, sys, time\nif 'train' in sys.argv and os.path.exists({str(slow)!r}):\n"
        wait += f"    pathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n    time.sleep(600)\n"
        file.write_text(wait + file.read_text())
    process = subprocess.Popen(command(project, *asked), stderr=subprocess.PIPE, text=True)
    while not (started.exists() and started.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 130 and "stopped; the same call goes on" in process.stderr.read()
    assert not psutil.pid_exists(int(started.read_text()))
    assert not (project / "docs/study/rtdetr.csv").exists()
    slow.unlink()
    again = study(project, *asked)
    assert again.returncode == 0, again.stderr
    assert all(row.done for row in read_rows(project / "docs/study/rtdetr.csv"))


def test_nothing_counted_yet(project):
    assert study(project, "report").returncode == 0
    assert "Nothing has been counted yet." in (project / "docs/study/report.md").read_text()
    assert "Nothing has been counted yet." in (project / "README.md").read_text()


def test_pages_that_disagree_with_the_rows_are_refused(project):
    found = [row(s, f, d, 50.0 + s + d) for s in (10, 11) for d in (0, 1) for f in ("torch", "jittor")]
    write_rows(project / "docs/study/rtdetr.csv", found)
    missing = study(project, "report", "--check")
    assert missing.returncode == 2 and "docs/study/report.md: does not say what the rows say" in missing.stderr
    assert study(project, "report").returncode == 0 and study(project, "report", "--check").returncode == 0
    assert (project / "docs/study/rtdetr-scratch.png").exists()
    readme = (project / "README.md").read_text()
    (project / "README.md").write_text(readme.replace("| 2 |", "| 3 |"))
    assert "README.md: does not say what the rows say" in study(project, "report", "--check").stderr
    (project / "README.md").write_text("# Project\n")
    assert f"README.md: lacks the line {MARKS[0]}" in study(project, "report", "--check").stderr


def test_mistakes_end_with_one_line(project):
    for words, message in (
        (("run", "yolo"), "MODEL=yolo: there is no study of this name, expected one of rtdetr"),
        (("run", "rtdetr", "--start", "nowhere"), "--start nowhere: expected one of checkpoint, scratch"),
        (("pilot", "rtdetr", "--pilot", "none"), "PILOT=none: expected one of quick"),
    ):
        ended = study(project, *words)
        assert ended.returncode == 2 and message in ended.stderr and ended.stderr.count("\n") == 1


def test_a_wrong_number_of_jobs_is_told_before_anything_runs(project):
    run = study(project, "run", "rtdetr", "--jobs", "0")
    assert (run.returncode, run.stderr) == (2, "error: JOBS=0: expected 1 or more\n")
    assert not (project / "results").exists()


def test_the_projects_own_pages_say_what_its_rows_say():
    checked = subprocess.run(
        [sys.executable, ROOT / "workflow/scripts/study.py", "report", "--check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
