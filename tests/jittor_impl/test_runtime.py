"""Importing Jittor: the oneDNN wheels are linked where it looks, its core is compiled once, settings are in place."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jittor_impl import runtime


def links(home: Path) -> dict[str, str]:
    root = home / ".cache/jittor/mkl" / runtime.ONEDNN
    return {str(p.relative_to(root)): os.readlink(p) for p in sorted(root.rglob("*")) if p.is_symlink()}


def test_onednn_is_linked_from_the_wheels_and_again_without_harm(tmp_path):
    runtime.link_onednn(tmp_path)
    first = links(tmp_path)
    assert sorted(first) == ["include", "lib/libdnnl.so.2", "lib/libmkldnn.so"]
    assert all(Path(target).exists() and target.startswith(os.path.realpath(sys.prefix)) for target in first.values())
    runtime.link_onednn(tmp_path)
    assert links(tmp_path) == first


def test_a_link_to_another_virtualenv_is_replaced(tmp_path):
    folder = tmp_path / ".cache/jittor/mkl" / runtime.ONEDNN / "lib"
    folder.mkdir(parents=True)
    (folder / "libdnnl.so.2").symlink_to("/nowhere/libdnnl.so.2")
    runtime.link_onednn(tmp_path)
    assert Path(links(tmp_path)["lib/libdnnl.so.2"]).exists()


def test_missing_wheels_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install onednn-cpu-gomp"):
        runtime.link_onednn(tmp_path)


def test_a_warm_cache_starts_no_process(tmp_path, monkeypatch):
    cache = tmp_path / ".cache/jittor"
    cache.mkdir(parents=True)
    runtime.stamp(tmp_path, "").touch()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
    runtime.warm(tmp_path)


@pytest.mark.parametrize(("outputs", "starts"), [(["", "alive 4.0"], 2), (["alive 4.0"], 1)])
def test_warming_repeats_an_import_that_ended_early(tmp_path, monkeypatch, outputs, starts):
    (tmp_path / ".cache/jittor").mkdir(parents=True)
    answers = iter(outputs)
    started = []

    def run(command, **options):
        started.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=next(answers), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    runtime.warm(tmp_path)
    assert len(started) == starts
    assert runtime.stamp(tmp_path, "").exists()


def test_warming_gives_up_with_what_the_import_said(tmp_path, monkeypatch):
    (tmp_path / ".cache/jittor").mkdir(parents=True)
    answer = subprocess.CompletedProcess([], 0, stdout="", stderr="no compiler")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: answer)
    with pytest.raises(RuntimeError, match="no compiler"):
        runtime.warm(tmp_path)


def test_jittor_runs_with_the_pinned_onednn_and_leaves_home_alone():
    assert runtime.onednn_version().startswith("2.6.")
    assert re.fullmatch(r"\S+ \d+\.\d+\.\d+", runtime.compiler_version())
    assert float((runtime.jt.ones(2) + 1).sum().item()) == 4
    assert os.environ["HOME"] != str(runtime.HOME)


def test_an_import_tells_nobody_else_where_its_cache_is():
    code = "import os; home = os.environ['HOME']; import jittor_impl.runtime; print('same', os.environ['HOME'] == home)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=runtime.ROOT)
    assert run.stdout.strip().endswith("same True"), run.stderr


def test_other_flags_compile_the_core_again(tmp_path):
    stamps = {runtime.stamp(tmp_path, flags) for flags in ("", "-g", "-g")}
    assert len(stamps) == 2


def test_jittors_tools_are_named_without_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.tempfile, "tempdir", str(tmp_path))
    usual, spaced = Path("/opt/parity/compile.sh"), tmp_path / "my folder/compile.sh"
    assert runtime.plain(usual) == usual
    for _ in range(2):  # the second time the link is there
        link = runtime.plain(spaced)
        assert " " not in str(link) and link.readlink() == spaced


def test_without_a_compiler_a_verb_ends_with_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "jittor_impl",
        "init",
        "--model",
        "nanodet",
        "--out",
        str(tmp_path / "w.safetensors"),
    ]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(runtime.ROOT), "PARITY_JITTOR_HOME": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and run.stderr.startswith("g++ is not on PATH; Jittor compiles")


def test_the_core_is_not_compiled_again_when_the_environment_is_reached_by_a_link(tmp_path):
    (tmp_path / "link").symlink_to(sys.prefix)
    code = "from jittor_impl import runtime; print(runtime.jt.flags.cc_flags)"
    variables = os.environ | {"PYTHONPATH": str(runtime.ROOT), "PARITY_JITTOR_HOME": str(runtime.HOME)}
    about = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": variables}
    run = subprocess.Popen([tmp_path / "link/bin/python", "-c", code], start_new_session=True, **about)
    try:
        said, told = run.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)  # its compilers would go on replacing the core of the other tests
        raise
    assert run.returncode == 0 and "compiling" not in told
    assert said.strip() == runtime.jt.flags.cc_flags.strip()


FAKE = """
import os, sys
count = {counter!r}
n = int(open(count).read()) if os.path.exists(count) else 0
open(count, "w").write(str(n + 1))
if n < {ends}:
    sys.exit(0)
flags = __import__("types").SimpleNamespace(cc_flags="")
"""
UTILS = """
cache_path, cc_path = {folder!r}, "false"
def get_py3_include_path():
    return ""
"""


@pytest.mark.parametrize(
    ("ends", "status", "said"), [(0, 0, "done"), (2, 0, "done"), (9, 1, "asks to be started again")]
)
def test_an_import_that_ends_the_process_starts_it_anew(tmp_path, ends, status, said):
    """Jittor ends with exit code 0 and no work done when it has compiled its helper library once more."""
    (tmp_path / "jittor").mkdir()
    (tmp_path / "jittor/__init__.py").write_text(FAKE.format(counter=str(tmp_path / "count"), ends=ends))
    (tmp_path / "jittor_utils").mkdir()
    (tmp_path / "jittor_utils/__init__.py").write_text(UTILS.format(folder=str(tmp_path)))
    (tmp_path / ".cache/jittor").mkdir(parents=True)
    variables = os.environ | {"PARITY_JITTOR_HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}:{runtime.ROOT}"}
    variables[runtime.WARMING] = "1"
    command = [sys.executable, "-c", "from jittor_impl import runtime; print('done')"]
    run = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert run.returncode == status and said in run.stdout + run.stderr
    assert int((tmp_path / "count").read_text()) == min(ends, 3) + 1
