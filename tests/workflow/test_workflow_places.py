"""Where a checkout lies and what the machine has: a space in the path, another working directory, no C++ compiler."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from standin_project import Project

from parity import compiler

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spaced(tmp_path_factory) -> Project:
    """A project in a folder with a space in its name."""
    return Project(tmp_path_factory.mktemp("places") / "my folder/parity")


@pytest.fixture
def without_compiler(tmp_path) -> str:
    """A PATH that has what Snakemake and a shell need, but no compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "sh", "env", "uname", "cat", "ls", "cp", "rm", "mv", "dirname", "basename", "git", "which"):
        if place := shutil.which(tool):
            (folder / tool).symlink_to(place)
    return str(folder)


def test_a_checkout_in_a_folder_with_a_space_is_called_from_elsewhere(spaced, tmp_path):
    elsewhere = tmp_path / "an other place"
    elsewhere.mkdir()
    arguments = ("-s", str(spaced.folder / "Snakefile"), "--directory", str(elsewhere))
    run = spaced.snakemake("results/rtdetr/report.md", *arguments, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    assert (elsewhere / "results/rtdetr/report.md").exists() and not (spaced.folder / "results").exists()
    again = spaced.snakemake("-n", "results/rtdetr/report.md", *arguments, cwd=tmp_path)
    assert "Nothing to be done" in again.stdout


def test_make_works_in_a_folder_with_a_space(spaced):
    shutil.copy(ROOT / "Makefile", spaced.folder)
    arguments = ["ARGS=-n --config framework=torch", "report"]
    command = ["make", "-C", str(spaced.folder), *arguments]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (spaced.folder / ".venvs/workflow").is_symlink() and "Training rtdetr in torch" in run.stdout + run.stderr


def test_without_a_compiler_nothing_starts_and_one_line_says_why(project, without_compiler):
    run = project.snakemake("results/rtdetr/report.md", PATH=without_compiler, cc_path="")
    assert run.returncode == 2
    lines = [line for line in run.stdout.splitlines() if "g++" in line]
    assert len(lines) == 1 and lines[0].startswith("error: g++ is not on PATH; Jittor compiles its operators")
    assert not list(project.folder.glob("results/**/*.json"))
    assert not list(project.folder.glob(".venvs/torch-*"))


def test_pytorch_alone_needs_no_compiler(project, without_compiler):
    run = project.snakemake("--until", "weights", "--config", "framework=torch", PATH=without_compiler, cc_path="")
    assert run.returncode == 0, run.stdout


def test_the_compiler_that_jittor_is_told_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("cc_path", str(tmp_path / "no-compiler"))
    assert compiler.lacking().startswith(f"cc_path: '{tmp_path}/no-compiler' is no program; Jittor compiles")
