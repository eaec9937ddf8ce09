"""`make watch` follows files that grow, and says each epoch once."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from parity.errors import UserError
from parity.train.watch import CLEAR, Followed, follow, newest, page

SCRIPT = Path(__file__).resolve().parents[3] / "workflow/scripts/watch.py"


def step(number: int, loss: float = 1.5) -> str:
    return json.dumps({"kind": "step", "epoch": 1, "step": number, "total": loss}) + "\n"


def epoch(number: int, loss: float = 1.5, ap: float | None = 0.25) -> str:
    metrics = None if ap is None else {"AP": ap, "AP50": 0.5, "AP75": None}
    line = {"kind": "epoch", "epoch": number, "total": loss, "metrics": metrics}
    return json.dumps(line | {"seconds": {"train": 3.0, "evaluate": 0.5}}) + "\n"


def run(root: Path, framework: str, text: str = "", name: str = "e3-0123abcd-s0") -> Path:
    folder = root / "runs" / framework / name
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(text)
    return folder


def append(folder: Path, text: str) -> None:
    with open(folder / "metrics.jsonl", "a") as handle:
        handle.write(text)


def end(folder: Path) -> None:
    (folder / "run.json").write_text("{}")
    later = (folder / "metrics.jsonl").stat().st_mtime + 1
    os.utime(folder / "run.json", (later, later))


def played(root: Path, *scenes, screen: bool = False, frameworks=("torch", "jittor")) -> str:
    """What is printed while one scene after the other happens between two looks."""
    out, left = io.StringIO(), list(scenes)
    follow(root, frameworks, out, screen, wait=lambda: left.pop(0)())
    assert not left
    return out.getvalue()


def test_each_epoch_is_one_line_and_it_ends_with_the_runs(tmp_path):
    first = run(tmp_path, "torch", step(1) + epoch(1))
    second = run(tmp_path, "jittor")

    def half_a_line():
        append(first, epoch(2)[:30])
        append(second, epoch(1, ap=None))

    def the_rest():
        append(first, epoch(2)[30:])
        end(second)

    lines = played(tmp_path, half_a_line, the_rest, lambda: end(first)).splitlines()
    assert lines == [
        "torch e3-0123abcd-s0 epoch 1: loss 1.5000, AP 25.00, AP50 50.00, AP75 -, train 3.0 s, evaluate 0.5 s",
        "jittor e3-0123abcd-s0 epoch 1: loss 1.5000, train 3.0 s, evaluate 0.5 s",
        "torch e3-0123abcd-s0 epoch 2: loss 1.5000, AP 25.00, AP50 50.00, AP75 -, train 3.0 s, evaluate 0.5 s",
        "jittor e3-0123abcd-s0: ended",
        "torch e3-0123abcd-s0: ended",
    ]


def test_a_continued_run_repeats_no_epoch_and_one_started_afresh_says_them_again(tmp_path):
    folder = run(tmp_path, "torch", epoch(1) + epoch(2) + step(7))
    watched = Followed("torch", folder)
    assert [line["epoch"] for line in watched.look()] == [1, 2]

    def rewritten(text):
        (folder / "new").write_text(text)
        (folder / "new").replace(folder / "metrics.jsonl")
        return [line["epoch"] for line in watched.look()]

    assert rewritten(epoch(1) + epoch(2)) == []
    append(folder, epoch(3))
    assert [line["epoch"] for line in watched.look()] == [3]
    assert rewritten(epoch(1, loss=9.0)) == [1] and list(watched.epochs) == [1]
    (folder / "metrics.jsonl").unlink()
    assert watched.look() == []


def test_a_loss_that_is_no_number_is_said_once(tmp_path):
    folder = run(tmp_path, "torch", epoch(1, loss=float("nan")))
    watched = Followed("torch", folder)
    assert len(watched.look()) == 1
    watched.inode = 0  # as if the file had been replaced
    assert watched.look() == []


def test_run_json_of_an_earlier_training_does_not_end_it(tmp_path):
    folder = run(tmp_path, "torch", epoch(1))
    end(folder)
    assert Followed("torch", folder).ended()
    later = (folder / "run.json").stat().st_mtime + 1
    os.utime(folder / "metrics.jsonl", (later, later))
    assert not Followed("torch", folder).ended()


def test_a_framework_without_a_run_is_waited_for_and_the_newest_run_is_taken(tmp_path):
    end(run(tmp_path, "torch", epoch(1)))

    def begin():
        end(run(tmp_path, "jittor", epoch(1), "e3-4567abcd-s0"))

    text = played(tmp_path, begin)
    assert "jittor e3-4567abcd-s0 epoch 1" in text
    old, new = (tmp_path / "runs/jittor" / name for name in ("e3-4567abcd-s0", "e3-4567abcd-s1"))
    run(tmp_path, "jittor", "", new.name)
    os.utime(new / "metrics.jsonl", (2e9, 2e9))
    assert newest(tmp_path, "jittor") == new != old
    assert newest(tmp_path, "other") is None


def test_the_screen_has_a_column_for_each_framework(tmp_path):
    folder = run(tmp_path, "torch", "".join(epoch(i) for i in range(1, 31)) + step(60))
    other = run(tmp_path, "jittor", epoch(30, ap=None))
    end(other)
    text = played(tmp_path, lambda: end(folder), screen=True)
    first, last = text.split(CLEAR)[1:]
    assert "running" in first and "running" not in last
    rows = [line.split() for line in last.splitlines()]
    assert ["torch", "jittor"] in rows and ["state", "ended", "ended"] in rows
    assert ["30", "1.5000", "25.00", "50.00", "1.5000", "-", "-"] in rows
    assert rows[-12][0] == "19" and max(map(len, last.splitlines())) <= 80


def test_the_screen_says_where_each_run_is_and_which_one_is_silent(tmp_path):
    timed = json.dumps({"kind": "step", "epoch": 2, "step": 31, "total": 8.1304, "seconds": {"step": 0.2543}}) + "\n"
    first, second = run(tmp_path, "torch", epoch(1) + timed), run(tmp_path, "jittor", epoch(1) + step(7))
    (first / "run.yaml").write_text("train: {epochs: 80}\n")
    long_ago = time.time() - 12.2 * 60
    os.utime(second / "metrics.jsonl", (long_ago, long_ago))
    watched = {name: Followed(name, folder) for name, folder in (("torch", first), ("jittor", second))}
    for each in watched.values():
        each.look()
    lines = page(tmp_path, ["torch", "jittor"], watched, set()).splitlines()
    cells = [[line[7:33].rstrip(), line[34:]] for line in lines[5:8]]
    assert cells == [
        ["running", "silent for 12 min"],
        ["epoch 2 of 80, step 31", "epoch 1, step 7"],
        ["loss 8.13, 0.254 s a step", "loss 1.5"],
    ]


def test_no_run_and_a_damaged_line_are_named(tmp_path):
    with pytest.raises(UserError, match="no run of torch or jittor has begun"):
        played(tmp_path)
    folder = run(tmp_path, "torch", epoch(1) + "{}\n")
    with pytest.raises(UserError, match=r"torch/e3-0123abcd-s0/metrics\.jsonl: line 2 is no step and no epoch"):
        Followed("torch", folder).look()


def test_the_command_in_a_pipe(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    nothing = subprocess.run(command, capture_output=True, text=True)
    assert (nothing.returncode, nothing.stdout, nothing.stderr.count("\n")) == (2, "", 1)
    end(run(tmp_path, "torch", epoch(1)))
    done = subprocess.run([*command, "--frameworks", "torch"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 2, "")
    run(tmp_path, "jittor", epoch(1))
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background is born deaf to it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command, preexec_fn=heard, **pipes)
    assert "epoch 1" in running.stdout.readline()
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert (running.wait(20), running.stderr.read()) == (0, "")


def test_a_framework_that_does_not_exist_is_named(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--frameworks", "torch,mxnet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "FRAMEWORKS: 'torch,mxnet', expected torch, jittor, or torch,jittor\n"
