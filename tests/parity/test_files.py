"""Nothing is lost: files are whole or as they were, whatever the disk answers."""

import errno
import os
import resource
import subprocess
from pathlib import Path

import interrupted
import numpy as np
import pytest
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity import cli, files
from parity.config.run import RunConfig
from parity.errors import UserError
from parity.train import engine, train
from parity.weights import formats


@pytest.fixture
def run(tmp_path):
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors")
    interrupted.draw_weights("numpy", run)
    return run | {"checkpoint_minutes": 1e-9}


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_content_and_names_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("rename"), replace(a, b))[1])
    files.write_text(tmp_path / "a.txt", "words")
    assert seen[1:] == ["rename", str(tmp_path)] and Path(seen[0]).name.startswith(".a.txt.")
    assert files.TEMPORARY.fullmatch(Path(seen[0]).name) and (tmp_path / "a.txt").read_text() == "words"


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_refusal_of_the_disk_is_one_line_and_changes_nothing(tmp_path, monkeypatch, call, number):
    path = tmp_path / "a.json"
    files.write_json(path, 1)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(UserError, match=f"a.json: cannot be written: {os.strerror(number)}"):
        files.write_json(path, 2)
    monkeypatch.undo()
    assert files.read_json(path) == 1 and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(UserError, match="run: cannot be written"):
        engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "run")


def limited(run: dict, out: Path, size: int) -> str:
    """What a training says in a process whose files may grow to `size` bytes."""
    process = os.fork()
    if process == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            engine.train(RunConfig(**run), NumpyFramework(), out)
            message = "finished"
        except UserError as error:
            message = str(error)
        except BaseException as error:
            message = f"BUG {type(error).__name__}: {error}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os.write(descriptor(out), message.encode()[:size])
        os._exit(0)
    os.waitpid(process, 0)
    return Path(f"{out}.said").read_text()


def descriptor(out: Path) -> int:
    return os.open(f"{out}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


@pytest.mark.parametrize("size", [200, 900, 1500, 2500, 3300])
def test_a_file_that_cannot_grow_stops_a_run_that_later_goes_on(run, tmp_path, size):
    said = limited(run, tmp_path / "parts", size)
    assert "cannot be written" in said and "\n" not in said and not said.startswith("BUG"), said
    assert not [path for path in tmp_path.rglob("*") if files.TEMPORARY.fullmatch(path.name)]
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "parts")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    first, second = (interrupted.outcome(tmp_path / name) for name in ("whole", "parts"))
    assert interrupted.differences(first, second) == []


def test_a_full_disk_stops_a_run_that_later_goes_on(run, tmp_path, tiny_disk):
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"0" * (44 << 10))
    with pytest.raises(UserError, match=r"disk/run.*cannot be written: .*(No space left|os error 28|code: 28)"):
        engine.train(RunConfig(**run), NumpyFramework(), tiny_disk / "run")
    ballast.unlink()
    engine.train(RunConfig(**run), rest := NumpyFramework(), tiny_disk / "run")
    engine.train(RunConfig(**run), NumpyFramework(), tmp_path / "whole")
    first, second = (interrupted.outcome(folder) for folder in (tmp_path / "whole", tiny_disk / "run"))
    assert interrupted.differences(first, second) == [] and len(rest.seen) < 9


def test_a_full_disk_leaves_older_weights_alone(tiny_disk):
    path = tiny_disk / "w.safetensors"
    formats.write(path, {"a": np.ones(10, np.float32)})
    with pytest.raises(UserError, match=r"w\.safetensors: cannot be written"):
        formats.write(path, {"a": np.ones(100_000, np.float32)})
    assert formats.read(path)["a"].shape == (10,) and [p.name for p in tiny_disk.iterdir()] == ["w.safetensors"]


def test_a_command_says_in_one_line_what_the_system_refuses(monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "results/x")

    monkeypatch.setattr(train, "run", refuse)
    assert cli.main(NumpyFramework, ["train", "--config", "run.yaml", "--out", "out"]) == 2
    assert capsys.readouterr().err == "results/x: Permission denied\n"


def test_any_other_answer_of_the_system_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr(train, "run", fail)
    with pytest.raises(ConnectionResetError):
        cli.main(NumpyFramework, ["train", "--config", "run.yaml", "--out", "out"])
