"""Rung 5: the losses, and which query was matched with which box."""

import numpy as np

from parity.align.compare import relative
from parity.align.files import Probe
from parity.align.queries import Queries, judge_queries, match_queries
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def losses(first: Probe, second: Probe) -> Rung:
    """Every component, the total, and which query was matched with which box."""
    rung, limit = Rung(5, "losses and matches"), TOLERANCES["loss"].limit
    queries = match_queries(first.train, second.train)
    judge_queries(rung, queries)
    names = [*first.train.under("loss/").values(), "total"]
    for name in sorted(set(names) | set(second.train.under("loss/").values())):
        if name not in first.train or name not in second.train:
            rung.problem(f"{name}: only one framework computes it")
            rung.count("components", 1, 0)
            continue
        rung.count("components", 1, 1)
        a, b = float(first.train[name]), float(second.train[name])
        rung.number(relative(a, b), limit, "relative", f"{name}: {a:.8g} and {b:.8g}")
    pairs = 0
    for head in sorted(_heads(first) | _heads(second)):
        if head not in _heads(first) & _heads(second):
            rung.problem(f"match {head}: only {(first if head in _heads(first) else second).framework} has it")
            rung.count("matches", 1, 0)
            continue
        sides = [
            _matched(probe, head, order) for probe, order in zip((first, second), _orders(queries, head), strict=True)
        ]
        pairs += len(sides[0])
        rung.count("matches", 1, 1)
        differing = sorted(sides[0] ^ sides[1])
        rung.number(len(differing), 0, "pairs", f"match {head}" + (f": {differing[:3]}" if differing else ""))
    for name, key in (first.train.under("assign/") | second.train.under("assign/")).items():
        if key not in first.train or key not in second.train:
            rung.problem(f"assign {name}: only {(first if key in first.train else second).framework} has it")
            rung.count("assignments", 1, 0)
            continue
        rung.count("assignments", 1, 1)
        differing = np.flatnonzero(first.train[key] != second.train[key])
        rung.number(len(differing), 0, "places", f"assign {name}" + (f": {differing[:3]}" if differing.size else ""))
    rung.details |= {"matched_pairs": pairs, "components": len(names)}
    return rung


def _heads(probe: Probe) -> set[str]:
    """The heads and images whose matches were recorded: `main/img0`."""
    return {name.removesuffix("/src") for name in probe.train.under("match/") if name.endswith("/src")}


def _orders(queries: Queries | None, head: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Positions that name the queries of an image on both sides; None where the index itself is the name.

    Denoising queries come with the ground truth, and are not picked.
    """
    image = head.rpartition("img")[2]
    if queries is None or head.startswith("dn") or not image.isdigit():
        return None, None
    return queries.first[int(image)], queries.second[int(image)]


def _matched(probe: Probe, head: str, positions: np.ndarray | None) -> set[tuple[int, int]]:
    """{(query, box)} of one image, queries named by their position in the encoder where they were picked from it."""
    source, target = (probe.train[f"match/{head}/{side}"].astype(np.int64) for side in ("src", "tgt"))
    return set(zip((source if positions is None else positions[source]).tolist(), target.tolist(), strict=True))
