"""--use-conda: which environments are asked for, with a stand-in for conda; and the same call where there is none."""

import os
import re
import sys
from pathlib import Path

import lock_envs
import make_venv
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
    handed = {file.read_text() for file in project.folder.glob(".snakemake/conda/*/constraints")}
    assert handed == {str(project.folder / "envs/lock.txt")}


def test_without_conda_the_same_call_builds_virtualenvs_and_says_so(empty_project):
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not (Path(folder) / "conda").exists())
    run = empty_project.snakemake("-n", "-p", "--use-conda", "results/rtdetr/report.md", PATH=path)
    assert run.returncode == 0, run.stdout
    assert "There is no conda command here" in run.stdout
    assert ".venvs/torch-" in run.stdout


@pytest.mark.parametrize("name", ["torch", "jittor", "workflow", "export"])
def test_an_environment_file_pins_everything_inline(name):
    """Snakemake copies the file before conda reads it, so `-r other.txt` would not be found."""
    spec = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    assert spec["channels"] == ["conda-forge"]
    assert "python=3.11" in spec["dependencies"]
    (pip,) = [entry["pip"] for entry in spec["dependencies"] if isinstance(entry, dict)]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+-]*", requirement) for requirement in pip)


def test_the_lock_holds_every_pin_and_nothing_loose():
    lines = (ROOT / "envs/lock.txt").read_text().splitlines()[1:]
    lock = dict(line.split("==") for line in lines)
    assert list(lock) == sorted(lock) and len(lock) == len(lines)
    for name in ("torch", "jittor", "workflow", "export"):
        _, pip = make_venv.requirements(ROOT / f"envs/{name}.yaml")
        for package, version in (requirement.split("==") for requirement in pip):
            assert lock[package.lower()] == version, f"{package}: run workflow/scripts/lock_envs.py"


def test_an_environment_that_extends_another_lists_everything_of_it(tmp_path):
    assert make_venv.extended(ROOT / "envs/export.yaml") == ROOT / "envs/torch.yaml"
    assert make_venv.extended(ROOT / "envs/torch.yaml") is None
    (tmp_path / "a.yaml").write_text("dependencies:\n  - pip:\n      - x==1\n      - y==2\n")
    (tmp_path / "b.yaml").write_text("# extends: a.yaml\ndependencies:\n  - pip:\n      - x==1\n      - y==3\n")
    with pytest.raises(SystemExit, match=r"b\.yaml: extends a\.yaml but lacks y==2"):
        make_venv.extended(tmp_path / "b.yaml")


def test_the_older_version_wins_where_environments_differ():
    environments = {"torch": {"packaging": "26.3", "torch": "2.13.0"}, "workflow": {"packaging": "25.0"}}
    assert lock_envs.merged(environments) == {"packaging": "25.0", "torch": "2.13.0"}
    assert lock_envs.order("1.10.0") > lock_envs.order("1.9")


def test_the_hosted_job_makes_the_canonical_call_with_conda():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    calls = [step.get("run", "") for step in jobs["conda"]["steps"]]
    assert "snakemake --cores 2 --use-conda results/rtdetr/report.md --config epochs=1" in calls
    assert any("--conda-create-envs-only" in call for call in calls)
    assert any(step.get("run") == ".ci/run" for step in jobs["test"]["steps"])
