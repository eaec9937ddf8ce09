"""Pairs of queries and boxes from a cost matrix (DETR, paper section 3.1).

A framework computes the costs on its device. The cheapest pairing of them is found here, on the host.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from parity.errors import UserError

Match = tuple[np.ndarray, np.ndarray]  # places of queries, ascending, and the boxes they are matched to; both int64 [n]


class Pairs(NamedTuple):
    """Matched pairs of a batch: image [M] and query [M], and what the query should be: boxes [M, 4], classes [M].

    Integers are int64.
    """

    image: np.ndarray
    query: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def refuse_diverged(arrays: list[np.ndarray]) -> None:
    """Raise UserError if a number is not finite, which only a diverged training causes."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError("matching costs: not finite, the training diverged; a lower learning rate may help")


def match_costs(costs: list[np.ndarray]) -> list[Match]:
    """The one-to-one pairing of least cost per image; costs: per image [Q, n].

    Raises UserError as `refuse_diverged`.
    """
    refuse_diverged(costs)
    return [linear_sum_assignment(cost) for cost in costs]


def known_matches(places: list[np.ndarray], labels: list[np.ndarray], groups: int) -> list[Match]:
    """Matches of denoising queries, per image: the recoverable copy of box j belongs to box j, in every group.

    places: per image the recoverable copies, group by group in the order of the boxes.
    """
    return [(place, np.tile(np.arange(len(label)), groups)) for place, label in zip(places, labels, strict=True)]


def pairs(matches: list[Match], boxes: list[np.ndarray], labels: list[np.ndarray]) -> Pairs:
    """The matches of all images together; boxes [n, 4] and labels [n] per image."""
    return Pairs(
        image=np.repeat(np.arange(len(matches)), [len(query) for query, _ in matches]),
        query=np.concatenate([query for query, _ in matches]),
        boxes=np.concatenate([b[box] for b, (_, box) in zip(boxes, matches, strict=True)]),
        classes=np.concatenate([c[box] for c, (_, box) in zip(labels, matches, strict=True)]),
    )


def match_arrays(matches: dict[str, list[Match]]) -> dict[str, np.ndarray]:
    """Matches by head under the names of `trace`: match/<head>/img<i>/src and /tgt."""
    return {
        f"match/{head}/img{i}/{side}": places
        for head, images in matches.items()
        for i, match in enumerate(images)
        for side, places in zip(("src", "tgt"), match, strict=True)
    }
