"""The tables about exact zeros: a run that lies apart and gradients that one framework alone has at zero are seen."""

import sys

import exact_zeros
import numpy as np
import pytest

from parity.weights.last_bits import nudge

START = {"a.weight": np.array([0.0, 1.0, 2.0, 3.0], np.float32), "b.bias": np.zeros(2, np.float32)}


def written(path, grad, apart=()):
    """A record of both tensors in which every run moves by one, and those of `apart` by ten in another direction."""
    arrays = {f"start/{name}": value for name, value in START.items()}
    for kind, seed in exact_zeros.STARTS:
        place, begun = f"{kind}{seed}", nudge(START, kind, seed)
        arrays[f"{place}/grad/a.weight"] = np.array(grad, np.float32)  # b.bias has no gradient
        move = np.float32(-10 if place in apart else 1)
        for step in exact_zeros.SHOWN:
            arrays |= {f"{place}/{step}/{name}": value + move for name, value in begun.items()}
    np.savez(path, **arrays)
    return str(path)


def compared(monkeypatch, capsys, *files):
    monkeypatch.setattr(sys, "argv", ["exact_zeros.py", "compare", *files])
    exact_zeros.main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    first, far = (
        next(i for i, line in enumerate(lines) if line[0].startswith(word)) for word in ("from P", "from the")
    )
    return [{line[0]: line[1:] for line in part[2:]} for part in (lines[:first], lines[first:far], lines[far:])]


def test_zeros_of_one_framework_and_a_run_that_lies_apart_are_seen(tmp_path, monkeypatch, capsys):
    here = written(tmp_path / "t.npz", [0, 1, 1, 0], apart=["none0"])
    zeros, untouched, others = compared(monkeypatch, capsys, here, written(tmp_path / "j.npz", [0, 0, 1, 1]))
    assert zeros["none0"] == ["4", "4", "1", "1"]  # two of the weights and both biases, which have no gradient
    assert all(float(cell) > 1 for row in untouched.values() for cell in row)  # of ten, from the one that lies apart
    means = {label: float(row[0]) for label, row in others.items()}
    assert max(means, key=means.get) == "PyTorch, none0" and means["PyTorch, none0"] > 5 * means["Jittor, none0"]


def test_runs_that_do_the_same_are_together(tmp_path, monkeypatch, capsys):
    files = [written(tmp_path / name, [0, 1, 1, 0]) for name in ("t.npz", "j.npz")]
    zeros, untouched, others = compared(monkeypatch, capsys, *files)
    assert len(zeros) == 5 and len(untouched) == 9 and len(others) == 10
    assert all(float(cell) < 1e-6 for row in untouched.values() for cell in row)
    assert all(float(row[2]) < 1e-6 for row in others.values())


def test_records_of_other_weights_are_refused(tmp_path, monkeypatch):
    files = [written(tmp_path / "t.npz", [0, 1, 1, 0])]
    monkeypatch.setitem(START, "b.bias", np.ones(2, np.float32))
    files.append(written(tmp_path / "j.npz", [0, 1, 1, 0]))
    monkeypatch.setattr(sys, "argv", ["exact_zeros.py", "compare", *files])
    with pytest.raises(SystemExit, match=r"j\.npz: does not start from the weights of"):
        exact_zeros.main()
