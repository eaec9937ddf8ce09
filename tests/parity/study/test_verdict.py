"""Verdicts from made-up rows: what ends a study, what keeps it open, what is shown beside it."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import PROTOCOL, failed, row, rows

from parity.errors import UserError
from parity.study.rows import append, check_shared, read_rows, write_rows
from parity.study.verdict import companions, judge, null_interval, pairs_of, permutation, pooled, spreads


def verdict(found):
    return judge(found, PROTOCOL, "scratch")


def test_nothing_counted_is_no_verdict():
    pilots = [row(1, "torch", 0, 50.0, arm="pilot"), row(1, "jittor", 0, 50.0, arm="pilot")]
    assert verdict([]).verdict == verdict(pilots).verdict == "nothing counted"


def test_before_the_first_look_it_is_inconclusive_however_narrow():
    judgement = verdict(rows(5, spread=0.01))
    assert judgement.verdict == "inconclusive" and "5 pairs so far, the first look is after 6" in judgement.reason


def test_equivalent_at_the_first_look_that_shows_it():
    judgement = verdict(rows(12))
    assert judgement.verdict == "equivalent" and [look.pairs for look in judgement.looks] == [6]
    assert len(judgement.pairs) == 12 and len(judgement.counted) == 6  # later pairs are shown, and change nothing


def test_different():
    judgement = verdict(rows(6, shift=2.5))
    assert judgement.verdict == "different" and judgement.looks[0].low > 1.0


def test_a_wide_study_goes_on_and_ends_inconclusive():
    wide = verdict(rows(9, spread=6.0))
    assert wide.verdict == "inconclusive" and "next look is after 12" in wide.reason
    assert "that was the last look" in verdict(rows(12, spread=6.0)).reason


def test_the_relative_margin_counts_where_it_is_smaller():
    rng = np.random.default_rng(0)
    low = verdict(rows(6, ap=lambda f, seed, draw: 10 + 0.7 * (f == "jittor") + 0.05 * rng.standard_normal()))
    assert low.looks[0].margin == pytest.approx(0.5, abs=0.01) and low.verdict == "different"


def test_below_the_floor_nothing_is_equivalent():
    rng = np.random.default_rng(0)
    judgement = verdict(rows(6, ap=lambda f, seed, draw: 25 + 0.1 * rng.standard_normal()))
    assert judgement.verdict == "inconclusive" and "below the floor of 30" in judgement.reason


def test_a_failed_run_is_named_and_withholds_equivalence():
    found = rows(6)
    found[7] = failed(found[7])
    judgement = verdict(found)
    assert judgement.verdict == "inconclusive" and "1 run failed (jittor seed 101 draw 0)" in judgement.reason
    assert (judgement.looks[0].pairs, judgement.looks[0].used) == (6, 5)


def test_a_failed_run_that_was_repeated_counts_by_its_second_try():
    found = rows(6)
    assert verdict([*found[:7], failed(found[7]), *found[7:]]).verdict == "equivalent"


def test_a_null_arm_that_differs_withholds_equivalence():
    """Both frameworks move alike with the last bits, so that they agree; but each differs from itself."""
    rng = np.random.default_rng(0)
    judgement = verdict(rows(6, ap=lambda framework, seed, draw: 50 + 3.0 * (draw > 0) + 0.1 * rng.standard_normal()))
    assert judgement.verdict == "inconclusive" and "torch differs from itself" in judgement.reason


def test_a_leaning_null_arm_is_seen_below_the_margin():
    rng = np.random.default_rng(0)
    found = rows(6, ap=lambda framework, seed, draw: 50 + 0.5 * (draw > 0) + 0.1 * rng.standard_normal())
    low, high = null_interval(verdict(found).counted, PROTOCOL.level, "torch")
    assert 0 < low < 0.5 < high + 0.2 and verdict(found).verdict == "equivalent"


def test_pairs_count_in_the_order_of_their_seeds_up_to_the_first_gap():
    found = [entry for entry in rows(8) if (entry.seed, entry.framework, entry.draw) != (103, "jittor", 2)]
    assert [pair.seed for pair in pairs_of(found, PROTOCOL, "scratch")] == [100, 101, 102]


def test_differences_without_a_spread_show_nothing():
    judgement = verdict(rows(6, ap=lambda framework, seed, draw: 50.0))
    assert judgement.verdict == "inconclusive" and "nothing is known about their spread" in judgement.reason


def test_companions_are_paired_and_leave_out_what_was_not_measured():
    found = {entry.metric: entry for entry in companions(verdict(rows(6, shift=0.4)))}
    assert found["AP"].estimate == pytest.approx(0.4, abs=0.3) and found["AP"].low < found["AP"].estimate
    assert "APl" not in found and found["AR100"].pairs == 6 and found["AP50"].estimate == 0


def test_permutation_sees_a_shift_and_stays_quiet_without_one():
    same, moved = permutation(verdict(rows(6)), 2000), permutation(verdict(rows(6, shift=2.5)), 2000)
    assert moved.shift_p < 0.01 < 0.05 < same.shift_p and moved.shift == pytest.approx(2.5, abs=0.4)
    assert moved.distance_p < 0.01 < 0.05 < same.distance_p and moved.distance > 1


def test_permutation_by_hand():
    """One seed, two draws each: of the six ways to label four runs, two are as far apart as this one."""
    one = PROTOCOL.but(draws=1)
    values = {("torch", 0): 1.0, ("torch", 1): 2.0, ("jittor", 0): 3.0, ("jittor", 1): 4.0}
    found = [row(100, *place, ap) for place, ap in values.items()]
    result = permutation(judge(found, one, "scratch"), 6000)
    assert result.shift == 2.0 and result.shift_p == pytest.approx(1 / 3, abs=0.03)
    assert result.distance == pytest.approx(2.0 - 1.0)


def test_spreads():
    found = spreads(verdict(rows(12, spread=6.0)))
    assert found.torch == pytest.approx(6 * 2**0.5, rel=0.3) and found.paired < found.between


def test_pooled_is_the_mean_of_the_models():
    first, second = verdict(rows(6, shift=0.2, seed=1)), verdict(rows(6, shift=-0.4, seed=2))
    both = pooled([first, second])
    estimates = [companions(judgement)[0].estimate for judgement in (first, second)]
    assert both.models == 2 and both.estimate == pytest.approx(np.mean(estimates))
    assert both.low < both.estimate < both.high and pooled([first]) is None


def test_rows_survive_the_file(tmp_path):
    found = [*rows(1), failed(rows(1)[0])]
    write_rows(tmp_path / "a.csv", found)
    assert read_rows(tmp_path / "a.csv") == found and read_rows(tmp_path / "none.csv") == []


def test_a_finished_run_stands_once(tmp_path):
    found = rows(1)
    append(tmp_path / "a.csv", failed(found[0]))
    append(tmp_path / "a.csv", found[0])
    with pytest.raises(UserError, match="holds a finished run"):
        append(tmp_path / "a.csv", found[0])
    write_rows(tmp_path / "b.csv", [*found, found[2]])
    with pytest.raises(UserError, match=r"b\.csv: line 8: repeats the run of line 4"):
        read_rows(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("torch,main", "tensorflow,main", "line 2: framework is 'tensorflow', expected one of torch, jittor"),
        ("done,50.0", "done,many", "line 2: AP is 'many'"),
        ("done,50.0", "done,inf", "line 2: AP is 'inf'"),
        ("done,50.0", "done,", "line 2: AP is empty in a finished run"),
        (",reason\n", ",why\n", "line 1: the columns are"),
        ("done,50.0,", "done,50.0,,", "line 2: has 28 cells, expected 27"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, old, new, message):
    write_rows(tmp_path / "a.csv", [row(100, "torch", 0, 50.0)])
    text = (tmp_path / "a.csv").read_text()
    assert old in text
    (tmp_path / "a.csv").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["code", "configuration", "data", "base", "versions", "initial_weights"])
def test_rows_of_different_digests_are_refused_by_name(name):
    found = rows(2)
    check_shared(found, "rtdetr.csv")
    with pytest.raises(UserError, match=rf"rtdetr\.csv: {name}: "):
        check_shared([*found[:-1], replace(found[-1], **{name: "other"})], "rtdetr.csv")
