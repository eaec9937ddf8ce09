"""Class-wise non-maximum suppression."""

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import area, intersection
from jittor_impl.runtime import jt

Var = jt.Var
BLOCK = 512  # boxes that are compared at once: the memory stays that of a 512 x 512 table however many there are
TINY = 1e-9  # square pixels


def covers(a: Var, a_labels: Var, b: Var, b_labels: Var, iou: float) -> np.ndarray:
    """Which boxes a [N, 4] overlap which boxes b [M, 4] of the same class by more than `iou`; bool [N, M].

    Boxes without area overlap nothing. The quotient is NumPy's: Jittor compiles divisions into products with an
    approximate reciprocal, which decides otherwise where two boxes overlap by just `iou`.
    """
    inter = intersection(a.unsqueeze(1), b.unsqueeze(0))
    union = area(a).unsqueeze(1) + area(b).unsqueeze(0) - inter
    same = a_labels.unsqueeze(1) == b_labels.unsqueeze(0)
    inter, union, same = jt.fetch_sync([inter, union, same])
    return (inter / np.maximum(union, np.float32(TINY)) > np.float32(iou)) & same


def class_nms(boxes: Var, scores: Var, labels: Var, iou: float, limit: int) -> np.ndarray:
    """Greedy suppression inside each class: a box is removed if a better box of its class that is kept overlaps it.

    boxes [N, 4] xyxy, scores [N], labels [N] -> int64 [K], at most `limit`, in order of score; of equal scores the
    lower index counts as better. Overlap is IoU > `iou` (mmcv's rule, with widths x1 - x0).
    """
    kept = np.zeros(0, np.int64)
    if not scores.numel():
        return kept
    order = ops.argsort(scores, descending=True).numpy().astype(np.int64)
    for start in range(0, len(order), BLOCK):
        if len(kept) >= limit:
            break
        block = order[start : start + BLOCK]
        # one table for the kept boxes and the block, so that the host has to wait only once
        rows = jt.array(np.concatenate([kept, block]).astype(np.int32))
        some = jt.array(block.astype(np.int32))
        over = covers(boxes[rows], labels[rows], boxes[some], labels[some], iou)
        free = ~over[: len(kept)].any(0)
        block, over = block[free], np.triu(over[len(kept) :][free][:, free], 1)
        stands = np.ones(len(block), bool)
        while True:  # the first n are settled after n rounds, and nearly always all of them after a few
            again = ~(over & stands[:, None]).any(0)
            if np.array_equal(again, stands):
                break
            stands = again
        kept = np.concatenate([kept, block[stands]])
    return kept[:limit]
