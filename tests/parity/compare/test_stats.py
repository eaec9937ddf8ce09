"""Verdicts on data whose answer is known."""

import math

import numpy as np
import pytest

from parity.compare.stats import (
    MAX_SEEDS,
    margin_for,
    ratio_of_processes,
    seeds_needed,
    smooth,
    summary,
    survives,
    tost_paired,
    withheld,
)


def test_tost_matches_a_hand_computed_interval():
    verdict = tost_paired([40.0, 41.0, 42.0], [40.2, 41.1, 42.3], margin=1.0)
    # differences 0.2 0.1 0.3: mean 0.2, s 0.1, t(0.95, 2) = 2.919986, half width 0.1 / sqrt(3) * t
    half = 2.919986 * 0.1 / math.sqrt(3)
    assert verdict.verdict == "equivalent"
    assert verdict.low == pytest.approx(0.2 - half, abs=1e-6)
    assert verdict.high == pytest.approx(0.2 + half, abs=1e-6)


def test_tost_different_only_when_beyond_the_margin():
    assert tost_paired([40, 41, 42], [43.0, 44.1, 45.1], margin=1.0).verdict == "different"
    # certainly not zero, but inside the margin: equivalent is what a margin means
    assert tost_paired([40, 41, 42], [40.5, 41.5, 42.6], margin=1.0).verdict == "equivalent"


def test_one_seed_is_inconclusive_and_says_so():
    verdict = tost_paired([40.0], [40.0], margin=1.0)
    assert verdict.verdict == "inconclusive"
    assert verdict.code == "one_seed"
    assert "one seed" in verdict.reason
    assert verdict.needed is None


@pytest.mark.parametrize(("values", "code"), [([0.0, 0.0], "no_evidence"), ([40.0, 40.0], "no_spread")])
def test_no_spread_is_no_evidence(values, code):
    verdict = tost_paired(values, values, margin=1.0)
    assert (verdict.verdict, verdict.code, verdict.low) == ("inconclusive", code, None)


def test_the_margin_is_the_smaller_of_the_absolute_and_the_relative_one():
    assert (
        margin_for(1.0, 0.05, 5.0) == 0.25 and margin_for(1.0, 0.05, 40.0) == 1.0 and margin_for(1.0, 0.05, None) == 1
    )


def test_the_number_of_seeds_is_given_for_no_difference_too():
    verdict = tost_paired([40.0, 41.0, 42.0], [41.0, 41.5, 42.6], margin=1.0)
    assert verdict.code == "crosses" and verdict.needed_if_zero < verdict.needed
    assert f"if the true difference is zero, about {verdict.needed_if_zero}" in verdict.reason


def test_no_seed_is_inconclusive():
    assert tost_paired([], [], margin=1.0).code == "none"


def test_inconclusive_names_a_number_of_seeds_that_settles_it():
    first, second = [40.0, 41.0, 42.0], [41.0, 40.5, 42.6]
    verdict = tost_paired(first, second, margin=1.0)
    assert verdict.verdict == "inconclusive"
    assert str(verdict.needed) in verdict.reason
    rng = np.random.default_rng(1)
    delta = np.subtract(second, first)
    settled = 0
    for _ in range(400):
        draw = rng.normal(delta.mean(), delta.std(ddof=1), verdict.needed)
        settled += tost_paired([0.0] * verdict.needed, draw.tolist(), 1.0).verdict == "equivalent"
    assert 0.7 < settled / 400 < 0.95  # planned for 0.8


def test_seeds_needed_beyond_reach_is_none():
    assert seeds_needed(mean=1.0, deviation=0.5, margin=1.0) is None
    assert seeds_needed(mean=0.0, deviation=100.0, margin=1.0) is None
    assert seeds_needed(mean=0.0, deviation=1e-9, margin=1.0) == 2
    assert MAX_SEEDS >= 100


def processes(rng, factor=1.0, count=4, between=0.01, inside=0.02, samples=20):
    """Times of several processes: each has its own level, and noise inside."""
    levels = 0.1 * factor * np.exp(between * rng.standard_normal(count))
    return [(level * np.exp(inside * rng.standard_normal(samples))).tolist() for level in levels]


def test_speed_verdicts():
    rng = np.random.default_rng(0)
    base = processes(rng)
    assert ratio_of_processes(base, processes(rng), 0.05).verdict == "equivalent"
    slower = ratio_of_processes(base, processes(rng, 1.5), 0.05)
    assert slower.verdict == "different" and slower.low < 1.5 < slower.high
    unclear = ratio_of_processes(base, processes(rng, between=0.1), 0.05)
    assert unclear.verdict == "inconclusive" and unclear.code == "crosses"
    assert unclear.needed_if_zero > 4 and str(unclear.needed_if_zero) in unclear.reason
    assert unclear.spread[1] > 3 * unclear.spread[0]
    assert ratio_of_processes(base, [], 0.05).code == ratio_of_processes(base, [[]], 0.05).code == "none"


def test_fewer_than_three_processes_conclude_nothing_however_many_samples_they_have():
    rng = np.random.default_rng(0)
    verdict = ratio_of_processes(processes(rng, count=2, samples=500), processes(rng, 2.0, count=2, samples=500), 0.05)
    assert (verdict.verdict, verdict.code, verdict.low, verdict.n) == ("inconclusive", "few", None, 2)
    assert verdict.estimate == pytest.approx(2.0, rel=0.05)


def test_the_interval_of_speed_covers_the_truth_as_often_as_it_says():
    """5 % between processes, 2 % inside: nominal 90 %. Twenty samples of one process alone cover about 20 %."""
    rng, covered, wrong, rounds = np.random.default_rng(1), 0, 0, 2000
    for _ in range(rounds):
        verdict = ratio_of_processes(processes(rng, between=0.05), processes(rng, between=0.05), 0.05)
        covered += verdict.low <= 1.0 <= verdict.high
        wrong += verdict.verdict == "different"
    assert covered / rounds >= 0.88
    assert wrong / rounds < 0.05


def test_smoothing_keeps_constants_and_skips_what_is_not_finite():
    assert smooth([2.0] * 5).tolist() == pytest.approx([2.0] * 5)
    result = smooth([1.0, float("nan"), 3.0], factor=0.5)
    assert result[1] == pytest.approx(1.0)
    assert result[2] == pytest.approx((3 + 0.25 * 1) / 1.25)
    assert np.isnan(smooth([float("inf")])[0])


def test_summary_of_known_samples():
    numbers = summary(list(range(101)))
    assert (numbers["p50"], numbers["p90"], numbers["p99"], numbers["n"]) == (50, 90, 99, 101)
    assert summary([])["mean"] is None


def test_a_withheld_verdict_keeps_its_numbers_and_concludes_nothing():
    slower = ratio_of_processes([[0.1]] * 4, [[0.2]] * 4, 0.05)
    unclear = withheld(slower, "busy", "the machine was not idle")
    assert slower.verdict == "different"
    assert (unclear.verdict, unclear.code) == ("inconclusive", "busy")
    assert unclear.estimate == pytest.approx(2.0)
    assert (unclear.low, unclear.needed) == (slower.low, None)


@pytest.mark.parametrize(
    ("ratio", "drift", "expected"),
    [
        (1.0, 1.04, True),
        (1.0, 1.06, False),
        (1.2, 1.1, True),
        (1.2, 1.2, False),
        (0.5, 1.5, True),
        (0.8, 1 / 1.3, False),
    ],
)
def test_a_verdict_holds_as_long_as_the_machine_cannot_have_made_it(ratio, drift, expected):
    verdict = ratio_of_processes([[0.1]] * 4, [[0.1 * ratio]] * 4, 0.05)
    assert verdict.verdict == ("equivalent" if ratio == 1 else "different")
    assert survives(verdict, drift) is expected


def test_an_open_verdict_names_the_machine_only_beyond_the_margin():
    verdict = ratio_of_processes([[0.1], [0.2]] * 2, [[0.1], [0.2]] * 2, 0.05)
    assert verdict.code == "crosses" and survives(verdict, 1.04) and not survives(verdict, 0.9)
