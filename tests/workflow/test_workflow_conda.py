"""--use-conda: which environments are asked for, with a stand-in for conda; and the same call where there is none."""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def conda(tmp_path_factory) -> Path:
    """A folder to put on PATH, with the stand-in as `conda` and the script that activates what it made."""
    folder = tmp_path_factory.mktemp("conda") / "bin"
    folder.mkdir()
    source = Path(__file__).with_name("conda_standin.py").read_text()
    (folder / "conda").write_text(f"#!{sys.executable}\n{source}")
    (folder / "conda").chmod(0o755)
    (folder / "activate").write_text('source "$1/bin/activate"\n')
    return folder


def test_every_rule_runs_in_the_environment_it_names(project, conda):
    path = f"{conda}:{os.environ['PATH']}"
    run = project.snakemake("--use-conda", "results/rtdetr/report.md", "--config", "framework=jittor", PATH=path)
    assert run.returncode == 0, run.stdout
    made = sorted(file.read_text() for file in project.folder.glob(".snakemake/conda/*/made-from"))
    wanted = sorted((project.folder / f"envs/{name}.yaml").read_text() for name in ("jittor", "workflow"))
    assert made == wanted
    assert not list(project.folder.glob(".venvs/jittor-*"))


def test_without_conda_the_same_call_builds_virtualenvs_and_says_so(empty_project):
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not (Path(folder) / "conda").exists())
    run = empty_project.snakemake("-n", "-p", "--use-conda", "results/rtdetr/report.md", PATH=path)
    assert run.returncode == 0, run.stdout
    assert "There is no conda command here" in run.stdout
    assert ".venvs/torch-" in run.stdout


@pytest.mark.parametrize("name", ["torch", "jittor", "workflow"])
def test_an_environment_file_pins_everything_inline(name):
    """Snakemake copies the file before conda reads it, so `-r other.txt` would not be found."""
    spec = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    assert spec["channels"] == ["conda-forge"]
    assert "python=3.11" in spec["dependencies"]
    (pip,) = [entry["pip"] for entry in spec["dependencies"] if isinstance(entry, dict)]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+-]*", requirement) for requirement in pip)
