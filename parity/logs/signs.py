"""Observations in a log that deserve a look. Each names its lines; none is a verdict on a person.

The functions look for times equal to the last digit over many lines, curves without noise, AP that moves while the loss
stands still, times of day that stand still, go back or contradict the iteration time, words that speak of simulation,
and the same log on both sides.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, isnan
from typing import Any

import numpy as np

from parity.logs.record import Run
from parity.logs.speed import fine_stamps, is_running_mean, stretches

LONG_RUN = 20  # lines with the same time of three digits; of four and more digits SHORT_RUN are enough
SHORT_RUN = 8
SMOOTH_POINTS = 20  # points of a curve that are looked at for noise
SMOOTH = 0.1  # median change of the slope, in median slopes; a measured loss has about 1
AP_MOVE = 0.02  # change of AP (0 to 1) that counts as moving
LOSS_STILL = 1e-6  # relative change of the loss that counts as none
STANDING = 10  # lines in a row with the same time of day
CONTRADICTS = 2.0  # factor between times of day and iteration time that counts as a contradiction
SAME_POINTS = 10  # so many equal losses make two logs the same one
LOSS_FACTOR = 1.5  # a loss this much higher, beside an AP higher by AP_APART, is worth a look
AP_APART = 0.05
SHOWN = 6  # places that an observation names


@dataclass(frozen=True)
class Sign:
    """`side` 0 or 1 (2: both logs), `lines` as (from, to), `numbers` for the sentence of `code`."""

    code: str
    side: int
    lines: list[tuple[int, int]]
    numbers: dict[str, Any] = field(default_factory=dict)


def signs(runs: list[Run]) -> list[Sign]:
    """Every sign in one or two runs."""
    found = [sign for side, run in enumerate(runs) for look in LOOKS for sign in look(side, run)]
    return found + (same_log(*runs) + against_loss(*runs) if len(runs) == 2 else [])


def identical_times(side: int, run: Run) -> list[Sign]:
    """Stretches of training lines whose iteration time is the same to the last printed digit; or of epochs' times."""
    steps, found = run.steps, []
    if "time" not in steps and "train_s" in run.epochs:
        return _identical_epochs(side, run)
    for (value, digits), first, last, count in _stretches(
        list(zip(steps.column("time"), steps.column("decimals"), strict=True)), steps.column("line")
    ):
        units = value * 10 ** (digits if isfinite(digits) else _digits(value))
        least = SHORT_RUN if units >= 1000 else LONG_RUN if units >= 100 else None
        if isfinite(value) and least is not None and count >= least:
            found.append((count * steps.stride, first, last, value))
    if not found:
        return []
    longest = max(found)
    lines = [(a, b) for _, a, b, _ in found]
    numbers = {"count": longest[0], "value": longest[3], "total": sum(f[0] for f in found), "of": steps.seen}
    return [Sign("identical times", side, lines[:SHOWN], numbers)]


def _identical_epochs(side: int, run: Run) -> list[Sign]:
    """The same for the seconds of whole epochs; numbers of three digits are enough."""
    table = run.epochs
    found = [
        (count, first, last, value)
        for value, first, last, count in _stretches(table.column("train_s"), table.column("line"))
        if isfinite(value) and count >= SHORT_RUN and value * 10 ** _digits(value) >= 100
    ]
    if not found:
        return []
    count, first, last, value = max(found)
    numbers = {"count": count, "value": value, "total": sum(f[0] for f in found), "of": table.seen}
    return [Sign("identical epoch times", side, [(first, last)], numbers)]


def _digits(value: float) -> int:
    """Decimals that a number needs, used where its text is not known."""
    return len(f"{value:.6f}".rstrip("0").partition(".")[2])


def _stretches(values: list, lines: list[float]) -> list[tuple[Any, int, int, int]]:
    """(value, first line, last line, length) of stretches of equal neighbours; NaN counts as equal to NaN."""
    found: list[list] = []
    for value, line in zip(values, lines, strict=True):
        key = repr(value)
        if found and found[-1][4] == key:
            found[-1][2], found[-1][3] = int(line), found[-1][3] + 1
        else:
            found.append([value, int(line), int(line), 1, key])
    return [(value, first, last, count) for value, first, last, count, _ in found]


def smooth_curves(side: int, run: Run) -> list[Sign]:
    """Losses and AP without the noise that every training has: the slope hardly changes from point to point."""
    found = []
    for table, what in ((run.steps, "loss"), (run.epochs, "loss"), (run.evaluations, "AP")):
        if what == "loss" and found and found[0].numbers["what"] == "loss":
            continue
        _, values = table.pairs("line", what)
        lines, values = table.pairs("line", what)
        if len(values) < SMOOTH_POINTS:
            continue
        slope = np.diff(np.asarray(values))
        level = float(np.median(np.abs(slope)))
        if level <= 1e-12 * max(1.0, float(np.max(np.abs(values)))):
            continue
        change = float(np.median(np.abs(np.diff(slope)))) / level
        if change < SMOOTH:
            numbers = {"what": what, "points": len(values), "change": change}
            found.append(Sign("no noise", side, [(int(lines[0]), int(lines[-1]))], numbers))
    return found


def ap_without_loss(side: int, run: Run) -> list[Sign]:
    """AP that changes between two evaluations while the training loss is the same to the last digit."""
    losses = dict(zip(*run.epochs.pairs("epoch", "loss"), strict=True))
    rows = list(zip(*(run.evaluations.column(n) for n in ("epoch", "AP", "line")), strict=True))
    places, moved = [], 0.0
    for (e0, ap0, line0), (e1, ap1, line1) in pairwise(rows):
        if e0 not in losses or e1 not in losses or isnan(ap0) or isnan(ap1):
            continue
        still = abs(losses[e1] - losses[e0]) <= LOSS_STILL * abs(losses[e0])
        if still and abs(ap1 - ap0) >= AP_MOVE:
            places.append((int(line0), int(line1)))
            moved += abs(ap1 - ap0)
    if not places:
        return []
    return [Sign("AP without loss", side, places[:SHOWN], {"count": len(places), "points": 100 * moved})]


def standing_stamps(side: int, run: Run) -> list[Sign]:
    """Times of day that stay the same over lines which together claim seconds, or that go back."""
    steps, found = run.steps, []
    stamps, lines = steps.column("stamp"), steps.column("line")
    x, times = steps.column("x"), steps.column("time")
    places, claimed = [], 0.0
    start = 0
    for i in range(1, len(stamps) + 1):
        if i < len(stamps) and stamps[i] == stamps[start]:
            continue
        length = i - start
        seconds = sum(times[j] * (x[j] - x[j - 1]) for j in range(start + 1, i) if isfinite(times[j]))
        # a log written in blocks repeats a time of day, too; only claimed seconds make it remarkable
        if isfinite(stamps[start]) and length >= STANDING and seconds > 2:
            places.append((int(lines[start]), int(lines[i - 1])))
            claimed += seconds
        start = i
    if places:
        found.append(Sign("time stands still", side, places[:SHOWN], {"count": len(places), "seconds": claimed}))
    back = [
        (int(lines[i - 1]), int(lines[i]))
        for i in range(1, len(stamps))
        if isfinite(stamps[i]) and isfinite(stamps[i - 1]) and stamps[i] < stamps[i - 1] - 1
        and stamps[i - 1] - stamps[i] < 300 * 86400  # without a year, January follows December
    ]  # fmt: skip
    if back:
        found.append(Sign("time goes back", side, back[:SHOWN], {"count": len(back)}))
    return found


def contradicting_stamps(side: int, run: Run) -> list[Sign]:
    """Times of day against the iteration time of the same lines. A running mean is recognised and said to be one."""
    if is_running_mean(run):
        lines = run.steps.column("line")
        return [Sign("running mean", side, [(int(lines[0]), int(lines[-1]))], {})]
    column = dict(zip(run.steps.column("line"), run.steps.column("time"), strict=True))
    coarse = 0.0 if fine_stamps(run) else 1.0
    ratios, places = [], []
    for seconds, iterations, line in stretches(run):
        logged = column.get(line, np.nan)
        if not isfinite(logged) or logged <= 0 or (coarse and logged * iterations < 5):
            continue
        ratio = (seconds * iterations + 0.01) / (logged * iterations + 0.01)
        ratios.append(ratio)
        if ratio > CONTRADICTS or ratio < 1 / CONTRADICTS:
            places.append((line, line))
    if len(ratios) < 5:
        return []
    middle = float(np.median(ratios))
    if 1 / CONTRADICTS <= middle <= CONTRADICTS:
        return []
    return [Sign("time contradicts", side, places[:SHOWN], {"ratio": middle, "count": len(places), "of": len(ratios)})]


def simulated(side: int, run: Run) -> list[Sign]:
    """Lines that speak of simulation."""
    if not run.words:
        return []
    return [Sign("simulated", side, [(line, line) for line, _ in run.words[:SHOWN]], {"text": run.words[0][1]})]


def frozen_ap(side: int, run: Run) -> list[Sign]:
    """The same AP above zero, to the last digit, at several evaluations in a row while the loss moves."""
    table = run.evaluations
    found = [
        (first, last, count, value)
        for value, first, last, count in _stretches(table.column("AP"), table.column("line"))
        if isfinite(value) and count >= 4 and value > 0.005 and value * 10 ** _digits(value) >= 100
    ]
    if not found:
        return []
    longest = max(found, key=lambda f: f[2])
    return [
        Sign(
            "AP stands still",
            side,
            [(a, b) for a, b, _, _ in found][:SHOWN],
            {"count": longest[2], "value": longest[3]},
        )
    ]


def against_plan(side: int, run: Run) -> list[Sign]:
    """A log that shows more epochs than it says were planned."""
    planned, epochs = run.facts.get("epochs planned"), run.epochs.column("epoch")
    if planned is None or not isinstance(planned.value, int) or not epochs:
        return []
    shown = int(epochs[-1]) + (1 if epochs[0] == 0 else 0)
    if shown <= planned.value:
        return []
    numbers = {"planned": planned.value, "shown": shown}
    return [Sign("more epochs than planned", side, [(planned.line, planned.line)], numbers)]


def same_log(first: Run, second: Run) -> list[Sign]:
    """The same file on both sides, or two logs with the same numbers."""
    if first.source.sha256 and first.source.sha256 == second.source.sha256 and first.index == second.index:
        return [Sign("same file", 2, [], {})]
    for table, key in (("steps", "x"), ("epochs", "epoch"), ("evaluations", "at")):
        for what in ("loss", "AP"):
            a, b = (dict(zip(*getattr(r, table).pairs(key, what), strict=True)) for r in (first, second))
            common = [x for x in a if x in b and a[x] != 0]
            equal = [x for x in common if a[x] == b[x]]
            distinct = len({a[x] for x in equal})
            if len(equal) >= SAME_POINTS and distinct >= SAME_POINTS / 2 and len(equal) > 0.5 * len(common):
                return [Sign("same numbers", 2, [], {"what": what, "equal": len(equal), "of": len(common)})]
    return []


def against_loss(first: Run, second: Run) -> list[Sign]:
    """The side with the clearly higher last loss has the clearly higher last AP."""
    ends = []
    for run in (first, second):
        losses = [v for v in run.epochs.column("loss") if isfinite(v)]
        aps = [v for v in run.evaluations.column("AP") if isfinite(v)]
        if not losses or not aps or losses[-1] <= 0:
            return []
        ends.append((losses[-1], aps[-1]))
    low, high = sorted((0, 1), key=lambda side: ends[side][0])
    if ends[high][0] < LOSS_FACTOR * ends[low][0] or ends[high][1] < ends[low][1] + AP_APART:
        return []
    numbers = {"side": high, "loss": ends[high][0], "ap": 100 * ends[high][1]}
    return [
        Sign(
            "higher AP with higher loss", 2, [], numbers | {"other loss": ends[low][0], "other ap": 100 * ends[low][1]}
        )
    ]


LOOKS = (
    identical_times, smooth_curves, ap_without_loss, frozen_ap, standing_stamps, contradicting_stamps, against_plan,
    simulated,
)  # fmt: skip
