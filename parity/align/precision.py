"""How far both frameworks are from float64, and how many times as far the second one is as the first.

Both compute in float32, so neither is the truth. The reference is the first framework in float64, for the same weights
and batches (`referee.npz`). The ratio shows an operator that adds up carelessly before any tolerance does.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.align.compare import compare, relative
from parity.align.files import TRAIN, Probe
from parity.align.queries import match_queries
from parity.align.result import ALONE, FAIL, INCOMPLETE, PASS
from parity.align.rungs.gradients import compare_batches
from parity.align.tolerances import TOLERANCES

Arrays = Mapping[str, np.ndarray]
Found = dict[str, tuple[float, ...]]  # compared quantity -> (distance of the first framework, of the second)


def precision(first: Probe, second: Probe) -> dict[str, Any]:
    """One row per quantity: outputs in both modes, losses and gradients of the training batches.

    A row holds `expected` and `compared` (how many outputs, losses, gradients), `distances` by framework, `ratio` and
    `where`. Each output counts by itself, and the one with the largest ratio is shown. Losses and gradients count by
    their medians, because a single kink or exchanged match is no lack of precision. A distance below half a unit of
    float32 (2^-24) counts as that: nothing in float32 is nearer. `verdict` is "fail" where a ratio is above the limit,
    "incomplete" where something was not compared, "not compared" without float64.
    """
    limit, names = TOLERANCES["distance ratio"].limit, (first.framework, second.framework)
    if first.referee is None:
        where = f"{first.framework} offers no float64"
        return {"verdict": ALONE, "limit": limit, "frameworks": names, "rows": [], "where": where}
    count = first.about["settings"]["steps"]
    referee = first.referee.part(TRAIN)
    rows = [
        _worst("outputs, evaluation", names, *_outputs(first.referee, first.eval, second.eval)),
        _worst("outputs, training", names, *_outputs(referee, first.train, second.train)),
        _median("losses", names, *_losses(referee, first.train, second.train, count)),
        _median("gradients", names, *_gradients(first.referee, first.train, second.train, count)),
    ]
    short = [
        f"{row['compared']} of {row['expected']} {row['what']}" for row in rows if row["compared"] < row["expected"]
    ]
    short += [f"no {row['what']}" for row in rows if not row["expected"]]
    largest = max((row for row in rows if row["compared"]), key=lambda row: row["ratio"], default=None)
    if largest is not None and largest["ratio"] > limit:
        where = f"{largest['what']}: {names[1]} is {largest['ratio']:.2g} times as far from float64 as {names[0]}"
        verdict, where = FAIL, where + (f" ({largest['where']})" if largest["where"] else "")
    else:
        verdict, where = (INCOMPLETE, "; ".join(short)) if short else (PASS, "")
    return {"verdict": verdict, "limit": limit, "frameworks": names, "rows": rows, "where": where}


def ratio(first: float, second: float) -> float:
    """second / first; each counts as the rounding of a float32 at least."""
    least = TOLERANCES["distance ratio"].peak
    return max(second, least) / max(first, least)


def _row(what: str, names: tuple[str, str], expected: int, found: Found, pair: tuple[float, ...], where: str) -> dict:
    distances = dict(zip(names, map(float, pair), strict=True)) if found else {}
    row = {"what": what, "expected": expected, "compared": len(found), "distances": distances, "where": where}
    return row | {"ratio": ratio(*pair) if found else None}


def _worst(what: str, names: tuple[str, str], expected: int, found: Found) -> dict[str, Any]:
    where = max(found, key=lambda name: ratio(*found[name]), default="")
    return _row(what, names, expected, found, found.get(where, ()), where)


def _median(what: str, names: tuple[str, str], expected: int, found: Found) -> dict[str, Any]:
    pair = tuple(float(np.median(side)) for side in zip(*found.values(), strict=True))
    return _row(what, names, expected, found, pair, "")


def _outputs(referee: Arrays, *sides: Arrays) -> tuple[int, Found]:
    """Relative L2 of every raw output; images with other queries than the referee's are left out."""
    names = [name for name in referee if name.startswith("output/") and referee[name].dtype.kind == "f"]
    queries, found = [match_queries(referee, side) for side in sides], {}
    for name in names:
        if not all(name in side for side in sides):
            continue
        pairs = [(referee[name], side[name]) for side in sides]
        pairs = [order.pair(*pair) if order else pair for order, pair in zip(queries, pairs, strict=True)]
        if all(pair is not None for pair in pairs):
            distances = [compare(name, *pair, TOLERANCES["output"]).relative_l2 for pair in pairs]
            found[name.removeprefix("output/")] = tuple(distances)
    return len(names), found


def _losses(referee: Arrays, first: Arrays, second: Arrays, count: int) -> tuple[int, Found]:
    """Every component and the total, of every batch. A component that is zero in float64 has no relative distance."""
    found, prefixes = {}, ["", *(f"batch{k}/" for k in range(1, count))]
    names = [name for p in prefixes for name in referee if name == f"{p}total" or name.startswith(f"{p}loss/")]
    names = [name for name in names if referee[name] != 0]
    for name in names:
        if name in first and name in second:
            exact = float(referee[name])
            found[name] = tuple(relative(exact, float(side[name])) for side in (first, second))
    return len(names), found


def _gradients(referee: Arrays, first: Arrays, second: Arrays, count: int) -> tuple[int, Found]:
    """Relative L2 of every parameter's gradient on every batch; gradients that are zero in theory are left out."""
    sides = [compare_batches(referee, side, count).found for side in (first, second)]
    expected = sides[0].keys() | sides[1].keys()
    found: Found = {}
    for name in sorted(sides[0].keys() & sides[1].keys()):
        found[name] = tuple(float(np.median([d.relative_l2 for d in side[name]])) for side in sides)
    return len(expected), found


def told(found: dict[str, Any]) -> list[str]:
    """One line per quantity, for a terminal."""
    lines = []
    for row in found["rows"]:
        told = ", ".join(f"{name} {value:.1e}" for name, value in row["distances"].items()) or "nothing compared"
        ratio = f", {row['ratio']:.2g} times" if row["ratio"] is not None else ""
        at = f", at {row['where']}" if row["where"] else ""
        lines.append(f"   from float64, {row['what']} ({row['compared']} of {row['expected']}): {told}{ratio}{at}")
    return lines or [f"   from float64: nothing compared, {found['where']}"]
