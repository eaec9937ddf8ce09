"""What `make overfit` says after its report; tests/test_overfit.py has it judge real runs."""

from pathlib import Path

import fake_results
import pytest
import show_overfit

from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_runs_that_did_not_learn_fail_and_every_part_is_shown(tmp_path, capsys):
    assert show_overfit.main(fake_results.make(tmp_path)) == 1
    said = capsys.readouterr().out
    assert all(f"\n{name}" in said for name in ("total", *fake_results.LOSSES, "AP50 on these images"))
    assert "torch: NOT learnt by heart" in said and "jittor: NOT learnt by heart" in said


def test_what_cannot_vanish_is_left_out_and_marked():
    def run(last):
        losses = {"loss_qfl": 3.0, "loss_bbox": 1.0, "loss_dfl": 0.5, "loss_vfl_dn_0": 2.0}
        ends = losses | last
        line = {"losses": ends, "total": sum(ends.values())}
        coco = {"metrics": {"AP50": 0.99}}
        first = {"losses": losses, "total": sum(losses.values())}
        return show_overfit.Run("torch", 0, Path(), steps=[first], epochs=[line], coco=coco)

    good = run({"loss_qfl": 0.01, "loss_bbox": 0.03})
    assert show_overfit.left(good) == pytest.approx(0.01) and show_overfit.learnt(good)
    assert show_overfit.table([good]).count("(cannot vanish)") == 2
    assert not show_overfit.learnt(run({"loss_qfl": 0.3}))
    good.coco = {"metrics": {"AP50": 0.94}}
    assert not show_overfit.learnt(good)


def test_a_missing_comparison_is_named(tmp_path):
    with pytest.raises(UserError, match=r"comparison\.json"):
        show_overfit.main(tmp_path / "comparison.json")
