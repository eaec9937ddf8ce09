"""The report and the README's table say what the rows say, and nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import PROTOCOL, failed, row, rows

from parity.errors import UserError
from parity.study import figures
from parity.study.page import MARKS, NOTHING, Study, page, place, progress, readme
from parity.study.verdict import judge

ROOT = Path(__file__).resolve().parents[3]


def study(*found, name="rtdetr", starts=("scratch",)):
    return Study(name, name.upper(), starts, [entry for part in found for entry in part])


def test_nothing_counted():
    text = page([study([], starts=("scratch", "checkpoint"))], PROTOCOL)
    assert NOTHING in text and text.count("**nothing counted**") == 2 and "equivalent" not in text
    assert readme([study([])], PROTOCOL) == NOTHING


def test_every_verdict_is_told_with_its_pairs():
    wide = study(rows(6, spread=6.0), name="detr")
    text = page([study(rows(6)), study(rows(6, shift=3.0), name="gfocalv2"), wide], PROTOCOL)
    for verdict in ("equivalent", "different", "inconclusive"):
        assert f"**{verdict}**" in text
    assert "3 of 3 studies have counted pairs: 1 equivalent, 1 different, 1 inconclusive" in text
    assert len(re.findall(r"^\| 10\d \|", text, re.M)) == 18 and "mean over 3 models" in text


def test_the_numbers_are_those_of_the_rows():
    def ap(framework, seed, draw):
        return seed / 2 + 0.02 * draw + 0.1 * (framework == "jittor") * (1 + seed % 3)

    own = study(rows(6, ap=ap))
    assert "| 101 | 50.50, 50.52, 50.54 | 50.80, 50.82, 50.84 | +0.30 | +0.03 | +0.03 |" in page([own], PROTOCOL)
    line = "| RTDETR | scratch | 6 | 51.27 | 51.47 | +0.20 | +0.10 to +0.30 | equivalent |"
    assert line in readme([own], PROTOCOL)


def test_failed_runs_and_pairs_after_the_verdict_are_listed():
    found = rows(8)
    assert "106 (after the verdict)" in page([study(found)], PROTOCOL)
    found[7] = failed(found[7])
    text = page([study(found)], PROTOCOL)
    assert "- jittor seed 101 draw 0: loss is nan" in text and "failed, " in text and "**equivalent**" not in text


def test_a_leaning_null_arm_is_said():
    rng = np.random.default_rng(0)
    leaning = rows(6, ap=lambda framework, seed, draw: 50 + 0.5 * (draw > 0) + 0.1 * rng.standard_normal())
    assert "**the null arm leans**" in page([study(leaning)], PROTOCOL)
    assert "leans" not in page([study(rows(6))], PROTOCOL)


def test_rows_that_do_not_belong_together_are_refused():
    found = rows(6)
    with pytest.raises(UserError, match=r"docs/study/rtdetr\.csv: data: "):
        page([study(found[:-1], [replace(found[-1], data="other")])], PROTOCOL)


def test_pilots_are_shown_apart_with_what_they_cost():
    def pilot(seed, last_bits, ap):
        own = {"arm": "pilot", "recipe": "long", "last_bits": last_bits, "seconds": 300.0}
        return row(seed, "torch", 1 if last_bits != "none" else 0, ap, **own)

    own = [pilot(1, "none", 50.0), pilot(1, "all", 52.0), pilot(2, "none", 51.0), pilot(2, "zeros", 51.0)]
    text = page([study(own)], PROTOCOL)
    assert "**nothing counted**" in text and "Pilots" in text
    cells = ("4 of 4", "51.00", "1.41", "5.00", "10.00", "all +2.00 (1), zeros +0.00 (1)")
    assert f"| {' | '.join(cells)} |" in text and "| long | scratch |" in text


def test_progress_after_a_pair():
    judgement = judge(rows(4), PROTOCOL, "scratch")
    line = progress(judgement, PROTOCOL, {"torch": 60.0, "jittor": 40.0})
    assert line.startswith("scratch: 4 pairs, Jittor − PyTorch ") and "next look after 6" in line
    assert "10 min to it, 40 min to the last" in line
    assert "equivalent: " in progress(judge(rows(6), PROTOCOL, "scratch"), PROTOCOL, {"torch": 60.0, "jittor": 40.0})


def test_figures_are_drawn_before_and_after_the_first_look(tmp_path):
    for number in (3, 9):
        figure = figures.draw("title", judge(rows(number, spread=4.0), PROTOCOL, "scratch"), PROTOCOL)
        left, right = figure.axes
        assert len([line for line in left.lines if len(line.get_xdata()) == 2]) == number
        assert len(right.containers) == (6 if number == 9 else 0)
        figures.write(tmp_path / f"{number}.png", figure)
        assert (tmp_path / f"{number}.png").stat().st_size > 5000


def test_place():
    text = f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n"
    assert place(text, "new\n") == f"before\n{MARKS[0]}\nnew\n{MARKS[1]}\nafter\n" and place("nothing", "new") is None
