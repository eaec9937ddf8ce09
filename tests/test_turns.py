"""The ratio of two works that take turns. The seconds are given; nothing is timed."""

import pytest
from turns import in_turns


def test_a_constant_ratio_has_no_width_whatever_the_machine_does():
    speed = iter([9.0, 9.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0])
    said = in_turns(lambda: 1.5 * next(speed), lambda: next(speed), 3)
    assert said.startswith("1.500 (90 % 1.500 to 1.500) over 3 rounds")


def test_who_begins_changes_with_every_round():
    order = []
    in_turns(lambda: order.append("first") or 1.0, lambda: order.append("second") or 1.0, 4)
    assert order[2:] == ["first", "second", "second", "first"] * 2


def test_the_interval_is_students_on_the_logarithms():
    ratios = iter([1.0, 1.0, 2.0, 4.0])
    said = in_turns(lambda: next(ratios), lambda: 1.0, 3)
    assert said.startswith("2.000 (90 % 0.622 to 6.435)")  # exp(log 2 -+ 2.920 x log 2 / sqrt 3)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="2 rounds"):
        in_turns(lambda: 1.0, lambda: 1.0, 2)
