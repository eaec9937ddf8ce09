"""The levels of the design, by a smaller simulation than the table's."""

import pytest

from parity.study.design import ERROR, level_of_look, page, simulate
from parity.study.protocol import read_protocol, read_recipes, study_names

PROTOCOL = read_protocol("config/study")


def test_the_level_of_the_protocol_keeps_the_error_of_the_whole_procedure():
    level = level_of_look(PROTOCOL.looks, studies=100_000, seed=1)
    assert PROTOCOL.level == pytest.approx(level, rel=0.05) and PROTOCOL.level <= 0.014
    for name in ("equivalent", "different"):
        edge = simulate(PROTOCOL.looks, PROTOCOL.level, 0.7, 1.0, 1.0, 40_000)
        assert 0.8 * ERROR < getattr(edge, name) < 1.08 * ERROR


def test_looking_at_the_full_level_each_time_would_err_too_often():
    assert simulate(PROTOCOL.looks, ERROR, 0.7, 1.0, 1.0, 20_000).equivalent > 0.12


def test_one_look_has_the_whole_level():
    assert level_of_look([8], studies=100_000) == pytest.approx(ERROR, abs=0.003)


def test_a_narrow_study_ends_early_and_a_wide_one_late():
    narrow, wide = (simulate(PROTOCOL.looks, PROTOCOL.level, sd, 0.0, 1.0, 5_000) for sd in (0.5, 2.5))
    assert narrow.equivalent > 0.99 and narrow.pairs < 8
    assert wide.equivalent < 0.3 and wide.pairs > 30 and wide.inconclusive > 0.6


def test_the_table_says_what_it_assumes():
    text = page([6, 9], 0.03, 1.0, studies=400)
    assert "Looks after 6, 9 pairs, one-sided level 0.03" in text and text.count("\n| ") == 10


def test_every_recipe_is_readable_and_every_seed_of_its_kind():
    names = study_names("config/study")
    assert {read_recipes("config/study", name).model for name in names} == {"rtdetr", "detr", "gfocalv2", "nanodet"}
    seeds = PROTOCOL.seeds
    assert len(seeds) == PROTOCOL.looks[-1] and not set(seeds) & {*PROTOCOL.pilot_seeds, PROTOCOL.base_seed}
