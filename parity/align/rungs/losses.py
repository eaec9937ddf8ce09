"""Rung 5: the losses, and which query was matched with which box."""

from collections.abc import Mapping

import numpy as np

from parity.align.compare import compare, relative
from parity.align.files import Probe
from parity.align.queries import Queries, judge_queries, match_queries
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES

Arrays = Mapping[str, np.ndarray]


def losses(first: Probe, second: Probe) -> Rung:
    """Every component, the total, and which query was matched with which box; on every batch of rung 6.

    An assignment has no rounding, except at equal costs. The first batch, where none are, asks for equal matches. On
    the others a small share of the pairs may differ: the more batches, the more ties.
    """
    rung = Rung(5, "losses and matches")
    count = first.about["settings"]["steps"]
    shares = []
    for k in range(count):
        sides = [probe.train if k == 0 else probe.train.part(f"batch{k}/") for probe in (first, second)]
        rung.count("batches", 1, all("total" in side for side in sides))
        shares.append(_batch(rung, (first.framework, second.framework), *sides, k))
    pairs, differing = (sum(share[i] for share in shares) for i in (0, 1))
    limit = TOLERANCES["matches of other batches"].limit
    rung.number(differing / max(1, pairs), limit, "share", f"{differing} of {pairs} matches on {count} batches differ")
    rung.details |= {"matched_pairs": pairs, "differing_pairs": differing}
    if rung.failed and (found := first_in_training(first.train, second.train)):
        rung.where += f"; in training {found}"
    rung.details["components"] = len([*first.train.under("loss/"), "total"])
    return rung


def first_in_training(first: Arrays, second: Arrays) -> str:
    """Which module is the first to answer otherwise in training, on the first batch; "" where none was recorded.

    Rung 3 follows the modules in evaluation. This one only names: RT-DETR's queries may stand in another order.
    """
    paths = [name.removeprefix("trained/") for name in first if name.startswith("trained/")]
    for path in paths:
        a, b = first[f"trained/{path}"], second.get(f"trained/{path}")
        if b is not None and not compare(path, a, b, TOLERANCES["layer"]).ok:
            return f"the first module that differs is {path}"
    return f"all {len(paths)} modules agree: look at matching, losses and their weights" if paths else ""


def _batch(rung: Rung, names: tuple[str, str], first: Arrays, second: Arrays, k: int) -> tuple[int, int]:
    """Judge one batch; returns how many matches and positive places there were, and how many differ."""
    strict, place = k == 0, "" if k == 0 else f"batch {k + 1}: "
    queries = match_queries(first, second)
    if strict:
        judge_queries(rung, queries)
    limit, agree = TOLERANCES["loss"].limit, True
    for name in sorted({n for side in (first, second) for n in side if n.startswith("loss/")} | {"total"}):
        if name not in first or name not in second:
            rung.problem(f"{place}{name}: only one framework computes it")
            rung.count("components", 1, 0)
            agree = False
            continue
        rung.count("components", 1, 1)
        a, b = float(first[name]), float(second[name])
        where = f"{place}{name}: {a:.8g} and {b:.8g}"
        if name == "total" and agree:  # it comes last
            where += " though every component agrees: their weights or their sum"
        agree = agree and relative(a, b) <= limit
        rung.number(relative(a, b), limit, "relative", where)
    pairs = apart = 0
    for head in sorted(_heads(first) | _heads(second)):
        if head not in _heads(first) & _heads(second):
            rung.problem(f"{place}match {head}: only {names[head not in _heads(first)]} has it")
            rung.count("matches", 1, 0)
            continue
        orders = _orders(queries, head)
        sides = [_matched(side, head, order) for side, order in zip((first, second), orders, strict=True)]
        rung.count("matches", 1, 1)
        differing = sorted(sides[0] ^ sides[1])
        pairs, apart = pairs + len(sides[0]), apart + len(differing) // 2
        if strict:
            rung.number(len(differing), 0, "pairs", f"match {head}" + (f": {differing[:3]}" if differing else ""))
    for key in sorted({n for side in (first, second) for n in side if n.startswith("assign/")}):
        name = key.replace("/", " ", 1)
        if key not in first or key not in second:
            rung.problem(f"{place}{name}: only {names[key not in first]} has it")
            rung.count("assignments", 1, 0)
            continue
        rung.count("assignments", 1, 1)
        differing = np.flatnonzero(first[key] != second[key])
        pairs, apart = pairs + _taken(first[key]), apart + len(differing)
        if strict:
            rung.number(len(differing), 0, "places", name + (f": {differing[:3]}" if differing.size else ""))
    return pairs, apart


def _taken(assigned: np.ndarray) -> int:
    """Places that have a box; the value of those that have none is the most frequent one."""
    return assigned.size - int(np.unique(assigned, return_counts=True)[1].max(initial=0))


def _heads(arrays: Arrays) -> set[str]:
    """The heads and images whose matches were recorded: `main/img0`."""
    return {
        n.removeprefix("match/").removesuffix("/src") for n in arrays if n.startswith("match/") and n.endswith("/src")
    }


def _orders(queries: Queries | None, head: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Positions that name the queries of an image on both sides; None where the index itself is the name.

    Denoising queries come with the ground truth, and are not picked.
    """
    image = head.rpartition("img")[2]
    if queries is None or head.startswith("dn") or not image.isdigit():
        return None, None
    return queries.first[int(image)], queries.second[int(image)]


def _matched(arrays: Arrays, head: str, positions: np.ndarray | None) -> set[tuple[int, int]]:
    """{(query, box)} of one image, queries named by their position in the encoder where they were picked from it."""
    source, target = (arrays[f"match/{head}/{side}"].astype(np.int64) for side in ("src", "tgt"))
    return set(zip((source if positions is None else positions[source]).tolist(), target.tolist(), strict=True))
