"""The order of queries. RT-DETR picks its queries by score; where two scores differ by rounding, either order is right.

Queries are named by the encoder position they were picked from (`topk_ind`). Arrays over queries are brought into the
first framework's order before they are compared. A rank at which the two sides picked different positions is a near
tie, if the scores of those two positions differ by no more than rounding in both frameworks; otherwise it is an error.
"""

from dataclasses import dataclass, field

import numpy as np

from parity.align.files import SCORES, Arrays
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


@dataclass
class Queries:
    """How the second framework's queries map to the first's.

    place   int64 [B, Q]  index of the first's query i in the second, -1 where the second did not pick it
    ties    ranks at which different positions stand, with scores that differ by rounding
    errors  such ranks with scores that differ by more
    lost    queries that only one side picked, ties at the cut
    gap     largest relative difference of scores at such a rank
    where   the rank with that gap
    """

    place: np.ndarray
    ties: int = 0
    errors: int = 0
    lost: int = 0
    gap: float = 0.0
    where: str = ""
    first: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    second: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    @property
    def complete(self) -> np.ndarray:
        """bool [B]: images whose queries are the same on both sides. Elsewhere attention mixes in what differs."""
        return (self.place >= 0).all(axis=1)

    def pair(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Both arrays in the first's order; arrays over queries [B, Q, E] without the images that are not complete.

        None if no image is left.
        """
        if first.ndim != 3 or first.shape != second.shape or first.shape[:2] != self.place.shape:
            return first, second
        keep = np.flatnonzero(self.complete)
        if not keep.size:
            return None
        return first[keep], np.stack([second[b][self.place[b]] for b in keep])


def align(
    first: np.ndarray,
    second: np.ndarray,
    first_logits: np.ndarray | None,
    second_logits: np.ndarray | None,
    tolerance: float,
) -> Queries:
    """Match queries by position. first, second int [B, Q]; logits [B, L, C] of every position.

    `tolerance` is relative to the largest absolute score. Without logits every difference counts as an error.
    """
    index = [{int(p): i for i, p in enumerate(row)} for row in second]
    place = np.array([[index[b].get(int(p), -1) for p in row] for b, row in enumerate(first)], np.int64)
    result = Queries(place, lost=int((place < 0).sum()), first=first, second=second)
    for b, rank in zip(*np.nonzero(first != second), strict=True):
        p, q = int(first[b, rank]), int(second[b, rank])
        gap = np.inf
        if first_logits is not None and second_logits is not None:
            best = [logits[b].max(axis=-1).astype(np.float64) for logits in (first_logits, second_logits)]
            gap = max(abs(scores[p] - scores[q]) / max(np.abs(scores).max(), 1e-30) for scores in best)
        if gap > tolerance:
            result.errors += 1
        else:
            result.ties += 1
        if gap >= result.gap:
            result.gap, result.where = float(gap), f"image {b}, rank {rank}: positions {p} and {q}"
    return result


def match_queries(first: Arrays, second: Arrays) -> Queries | None:
    """The order of queries of two eval or train traces; None for a model that does not pick queries."""
    name = "output/topk_ind"
    if name not in first or name not in second:
        return None
    logits = [side.get(f"layer/{SCORES}") for side in (first, second)]
    return align(first[name], second[name], *logits, TOLERANCES["query tie"].limit)


def judge_queries(rung: Rung, queries: Queries | None) -> None:
    """Near ties are counted, other differences of order fail the rung."""
    if queries is None:
        return
    rung.details["queries"] = {
        "total": int(queries.place.size),
        "near_ties": queries.ties,
        "only_on_one_side": queries.lost,
        "largest_gap": float(min(queries.gap, 1e30)),
        "images_compared_after_selection": int(queries.complete.sum()),
    }
    if queries.errors:
        rung.problem(f"queries picked in another order for no tie: {queries.errors} ranks, {queries.where}")
