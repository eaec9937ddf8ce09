"""A verdict states how much it compared; comparing nothing, or less than there is, is never a pass."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_probe import STEPS, drop, judged, put

from parity.align.ladder import failures
from parity.align.result import Rung, coverage
from parity.files import write_json

ROOT = Path(__file__).resolve().parents[3]


def test_a_rung_that_compares_nothing_is_incomplete():
    rung = Rung(3, "forward")
    assert rung.verdict == "incomplete"
    rung.count("modules", 4, 4)
    assert rung.verdict == "pass"
    rung.count("images", 0, 0)
    assert rung.verdict == "incomplete"


def test_a_rung_that_compares_less_than_expected_says_how_much():
    rung = Rung(3, "forward")
    rung.count("modules", 4, 1)
    rung.count("images", 2, 2)
    record = rung.record()
    assert (record["verdict"], record["where"]) == ("incomplete", "1 of 4 modules")
    assert coverage(record) == "1 of 4 modules, 2 of 2 images"
    rung.problem("something")
    assert rung.verdict == "fail"


def only_the_stem(arrays):
    for name in [name for name in arrays if name.startswith("layer/") and "stem" not in name]:
        del arrays[name]


@pytest.mark.parametrize("side", [0, 1], ids=["recorded by the second only", "recorded by the first only"])
def test_a_module_on_one_side_only_fails_in_both_directions(tmp_path, side):
    changes = [{}, {}]
    changes[side] = {"eval": only_the_stem}
    alignment = judged(tmp_path, changes[0], **changes[1])
    rung = alignment["rungs"][3]
    assert rung["verdict"] == "fail" and rung["compared"]["modules"] < rung["expected"]["modules"] == 4
    assert f"module block: only {('two', 'one')[side]} has it" in rung["details"]["failures"]


def test_the_dropout_inside_an_attention_needs_no_partner(tmp_path):
    def inner(arrays):
        arrays["layer/encoder.self_attn.drop"] = np.ones(3, np.float32)

    alignment = judged(tmp_path, eval=inner)
    assert alignment["verdict"] == "pass"
    assert "encoder.self_attn.drop" in alignment["rungs"][3]["details"]["only in two"]


def test_a_head_without_matches_on_one_side_is_named(tmp_path):
    alignment = judged(tmp_path, train=drop("match/main/img0/src", "match/main/img0/tgt"))
    assert "match main/img0: only one has it" in failures(alignment)[0]


@pytest.mark.parametrize(("ap50", "verdict"), [(0.0, "incomplete"), (0.09, "incomplete"), (0.11, "pass")])
def test_ap_of_weights_that_detect_nothing_is_incomplete(tmp_path, ap50, verdict):
    low = {"about": put(("evaluation", "metrics"), {"AP": ap50 / 2, "AP50": ap50})}
    alignment = judged(tmp_path, low, **low)
    assert alignment["rungs"][10]["verdict"] == alignment["verdict"] == verdict
    assert alignment["passed"] == (verdict == "pass")


def test_a_ladder_without_trajectory_is_incomplete(tmp_path):
    none = {"about": put(("trajectory",), None)}
    alignment = judged(tmp_path, none, **none)
    assert alignment["rungs"][9]["verdict"] == alignment["verdict"] == "incomplete"
    assert failures(alignment) == ["rung 9 (training trajectory) is incomplete: no trajectory was asked for"]


@pytest.mark.parametrize("steps", [1, STEPS - 1])
def test_fewer_than_five_batches_are_incomplete(tmp_path, steps):
    few = {"about": put(("settings", "steps"), steps)}
    alignment = judged(tmp_path, few, **few)
    assert alignment["rungs"][6]["verdict"] == "incomplete"
    assert "at least 5 are needed" in alignment["rungs"][6]["where"]


def low(arrays_of_metrics):
    """An evaluation with the given AP50, both frameworks alike."""
    return {"about": put(("evaluation", "metrics"), {"AP": arrays_of_metrics / 3, "AP50": arrays_of_metrics})}


def test_an_ap_that_only_training_can_give_does_not_keep_the_gate_shut(tmp_path):
    write_json(tmp_path / "alignment.json", judged(tmp_path, low(0.004), **low(0.004)))
    command = [sys.executable, str(ROOT / "workflow/scripts/gate.py"), "--alignment", tmp_path / "alignment.json"]
    opened = subprocess.run([*command, "--out", tmp_path / "gate.txt"], capture_output=True, text=True)
    assert opened.returncode == 0 and "the report repeats rung 10 with the final weights" in opened.stdout
    assert "rung 10 (AP with the same weights) is incomplete" in (tmp_path / "gate.txt").read_text()
    assert subprocess.run(command, capture_output=True).returncode == 1  # as `make align` asks


def test_a_low_ap_that_differs_keeps_the_gate_shut(tmp_path):
    write_json(tmp_path / "alignment.json", judged(tmp_path, low(0.004), **low(0.008)))
    command = [sys.executable, str(ROOT / "workflow/scripts/gate.py"), "--alignment", tmp_path / "alignment.json"]
    assert subprocess.run([*command, "--out", tmp_path / "gate.txt"], capture_output=True).returncode == 1


def test_the_gate_does_not_open_on_incomplete(tmp_path):
    none = {"about": put(("evaluation",), None)}
    write_json(tmp_path / "alignment.json", judged(tmp_path, none, **none))
    command = [sys.executable, str(ROOT / "workflow/scripts/gate.py"), "--alignment", tmp_path / "alignment.json"]
    shut = subprocess.run([*command, "--out", tmp_path / "gate.txt"], capture_output=True, text=True)
    assert shut.returncode == 1 and not (tmp_path / "gate.txt").exists()
    assert "rung 10 (AP with the same weights) is incomplete" in shut.stderr
    assert subprocess.run(command, capture_output=True).returncode == 1  # as `make align` asks
    off = subprocess.run([*command, "--out", tmp_path / "gate.txt", "--off"], capture_output=True, text=True)
    assert off.returncode == 0 and "incomplete" in (tmp_path / "gate.txt").read_text()
