"""The small scripts around a job: its log, its folder, its configuration."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import run_job
from small_run import make_run

from parity.config.run import load_run
from parity.files import locked

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"


def call(script: str, *arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_a_job_shows_and_keeps_output_and_passes_the_status_on(tmp_path):
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    run = call("run_job.py", tmp_path / "a/job.log", "-c", code)
    assert run.returncode == 3
    assert (tmp_path / "a/job.log").read_text() == "out\nerr\n"
    assert run.stderr == "out\nerr\n"


def test_a_job_gives_the_command_a_terminal_where_there_is_one(tmp_path):
    code = "import sys; sys.stderr.write('1/2\\r2/2\\n'); print(sys.stderr.isatty())"
    _reader, terminal = pty.openpty()
    command = [sys.executable, str(SCRIPTS / "run_job.py"), str(tmp_path / "job.log"), "-c", code]
    assert subprocess.run(command, stderr=terminal).returncode == 0
    assert (tmp_path / "job.log").read_text() == "2/2\nTrue\n"


def test_a_job_reports_a_killed_command_as_a_shell_does(tmp_path):
    run = call("run_job.py", tmp_path / "job.log", "-c", "import os; os.kill(os.getpid(), 9)")
    assert run.returncode == 137


CRASH = """
import os, pathlib, sys
runs = pathlib.Path({runs!r})
runs.open("a").write(os.environ["PARITY_RESTARTS"])
if {compiles}:
    pathlib.Path(os.environ["PARITY_COMPILING"]).touch()
if len(runs.read_text()) <= {crashes}:
    {end}
"""
KILLED, CAUGHT = "os.kill(os.getpid(), 11)", "print('Segfault, exit'); sys.exit(1)"


@pytest.mark.parametrize(
    ("compiles", "crashes", "end", "status", "runs"),
    [
        (True, 0, KILLED, 0, "0"),
        (True, 1, KILLED, 0, "01"),
        (True, 2, CAUGHT, 0, "012"),
        (True, 9, KILLED, 139, "012"),
        (False, 1, KILLED, 139, "0"),  # not while it compiled
        (True, 1, "sys.exit(1)", 1, "0"),  # an error is no crash
        (True, 1, "os.kill(os.getpid(), 9)", 137, "0"),  # the scheduler knows what to do
    ],
)
def test_a_job_that_crashes_while_it_compiles_is_started_again(tmp_path, compiles, crashes, end, status, runs):
    record = tmp_path / "runs"
    code = CRASH.format(runs=str(record), compiles=compiles, crashes=crashes, end=end)
    run = call("run_job.py", tmp_path / "job.log", "-c", code)
    assert run.returncode == status and record.read_text() == runs
    assert (tmp_path / "job.log").read_text().count("starting again") == len(runs) - 1
    assert run.stderr.count("starting again") == len(runs) - 1


def test_a_silent_job_says_how_many_operators_were_compiled(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(run_job, "SILENCE", 0.05)
    monkeypatch.setattr(run_job.signal, "signal", lambda *_: None)
    code = "import os, time; open(os.environ['PARITY_COMPILING'], 'w').write('...'); time.sleep(0.5); print('done')"
    assert run_job.run(tmp_path / "job.log", [sys.executable, "-c", code], os.environ) == 0
    assert capfd.readouterr().err.splitlines() == ["Jittor compiles operators, 3 so far", "done"]
    assert (tmp_path / "job.log").read_text() == "done\n"


def test_a_quiet_job_is_in_the_log_alone_after_what_was_there(tmp_path):
    (tmp_path / "job.log").write_text("before\n")
    run = call("run_job.py", "--quiet", tmp_path / "job.log", "-c", "print('said')")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "job.log").read_text() == "before\nsaid\n"


def test_a_script_of_the_folder_is_called_by_its_name(tmp_path):
    run = call("run_job.py", tmp_path / "job.log", "evaluate.py", "--help", cwd=tmp_path)
    assert run.returncode == 0 and "pycocotools" in run.stderr


@pytest.mark.parametrize(
    ("given", "spin"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)],
)
def test_a_job_finds_the_project_and_does_not_spin_unless_the_user_says_so(given, spin):
    got = run_job.environment(3, {"PYTHONPATH": "elsewhere", **given})
    wanted = given | {"PYTHONPATH": str(SCRIPTS.parents[1]), "OMP_NUM_THREADS": "3"}
    assert got == wanted | ({"GOMP_SPINCOUNT": spin} if spin else {})
    assert "OMP_NUM_THREADS" not in run_job.environment(None, given)


def begin(folder: Path, source: Path) -> subprocess.CompletedProcess:
    return call("run_folder.py", "begin", folder, source.name, cwd=source.parent)


@pytest.mark.parametrize(
    ("name", "text", "stays"),
    [
        ("code.py", "a = 1  # one\n", True),
        ("code.py", '"""Says."""\n\na = 1  # the first number\n', True),
        ("code.py", "a = 2  # one\n", False),
        ("code.txt", "a = 1  # the first number\n", False),
    ],
)
def test_checkpoints_of_an_interrupted_run_stay_until_the_code_does_something_else(tmp_path, name, text, stays):
    source, folder = tmp_path / name, tmp_path / "run"
    source.write_text("a = 1  # one\n")
    begin(folder, source)
    (folder / "checkpoints/step").touch()
    (folder / "metrics.jsonl").touch()
    source.write_text(text)
    assert begin(folder, source).returncode == 0
    assert [(folder / made).exists() for made in ("checkpoints/step", "metrics.jsonl")] == [stays, stays]


def test_checkpoints_of_a_finished_run_stay_until_it_is_asked_for_again(tmp_path):
    source, folder = tmp_path / "code.py", tmp_path / "run"
    source.write_text("a")
    begin(folder, source)
    (folder / "checkpoints/step").touch()
    call("run_folder.py", "finish", folder)
    assert (folder / "checkpoints/step").exists()
    begin(folder, source)
    assert not (folder / "checkpoints/step").exists()


def test_checkpoints_are_not_touched_while_another_process_trains(tmp_path):
    source, folder = tmp_path / "code.py", tmp_path / "run"
    source.write_text("a")
    begin(folder, source)
    (folder / "checkpoints/step").touch()
    source.write_text("b")
    with locked(folder):
        run = begin(folder, source)
    assert run.returncode == 2 and "another training is at work here" in run.stderr
    assert (folder / "checkpoints/step").exists()


def test_a_run_configuration_without_a_key_is_refused(tmp_path):
    run = call("write_run_config.py", "--settings", json.dumps({"model": "rtdetr"}), "--out", tmp_path / "run.yaml")
    assert run.returncode == 2
    assert run.stderr.startswith("error: ") and "lacks" in run.stderr and "Traceback" not in run.stderr


def test_a_run_configuration_is_told_of_tensorboard(tmp_path):
    data, weights = tmp_path / "data", tmp_path / "init.safetensors"
    settings = make_run(data, weights)
    for asked in (0, 1):
        path = tmp_path / f"{asked}.yaml"
        run = call("write_run_config.py", "--settings", json.dumps(settings), "--tensorboard", asked, "--out", path)
        assert run.returncode == 0, run.stderr
        assert load_run(path).train.tensorboard is bool(asked)


@pytest.mark.parametrize("script", ["make_dataset.py", "write_run_config.py", "evaluate.py", "collect.py"])
def test_every_script_explains_itself(script):
    run = call(script, "--help")
    assert run.returncode == 0 and "--out" in run.stdout


def test_a_dataset_with_another_number_of_classes_is_refused(tmp_path):
    size = {"train_images": 2, "val_images": 2}
    data = {"name": "synthetic", "source": "synthetic", "num_classes": 6, "synthetic": size}
    run = call("make_dataset.py", "--data", json.dumps(data), "--out", tmp_path / "data")
    assert run.returncode == 2
    said = "data.num_classes: 6, but synthetic has 7 categories: circle, square, triangle, ring, cross, star, bar"
    assert run.stderr.startswith(f"error: {said}; no object is a ") and run.stderr.count("\n") == 1
    assert not (tmp_path / "data/manifest.json").exists()
