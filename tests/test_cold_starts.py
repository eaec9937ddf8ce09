"""The command that counts crashes of cold starts: what it deletes, what it refuses, what it counts."""

import sys

import cold_starts
import pytest


@pytest.fixture
def home(tmp_path):
    jit = tmp_path / ".cache/jittor/jt1/compiler/machine/parity/jit"
    jit.mkdir(parents=True)
    (jit / "a_op.so").touch()
    (jit.parent / "core.so").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("print('loss 1')", "loss 1"),
        ("print('nothing')", "ended with 0: no word"),
        ("import os; os.kill(os.getpid(), 11)", "ended with -11: no word"),
        ("import sys; sys.exit('broken')", "ended with 1: broken"),
    ],
)
def test_a_start_begins_without_operators_and_says_how_it_ended(home, code, end):
    said, _, operators = cold_starts.start(code, home)
    assert said == end and operators == 0
    assert [path.name for path in home.rglob("*.so")] == ["core.so"]


@pytest.mark.parametrize(("codes", "status"), [(["print('loss 1')"], 0), (["print('loss 1')", "exit(3)"], 1)])
def test_crashes_are_counted(home, monkeypatch, capsys, codes, status):
    ends = iter(codes)
    one = cold_starts.start
    monkeypatch.setattr(cold_starts, "start", lambda code, folder: one(next(ends), folder))
    monkeypatch.setattr(sys, "argv", ["cold_starts.py", "--home", str(home), "--starts", str(len(codes))])
    assert cold_starts.main() == status
    assert f"{len(codes)} starts:\n    1  loss 1" in capsys.readouterr().out


def test_a_cache_in_use_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cold_starts.py", "--home", str(cold_starts.ROOT)])
    with pytest.raises(SystemExit):
        cold_starts.main()
    assert "expected a folder of its own" in capsys.readouterr().err
