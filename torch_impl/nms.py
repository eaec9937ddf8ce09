"""Class-wise non-maximum suppression."""

import torch
from torch import Tensor

from torch_impl.boxes import area, intersection

BLOCK = 512  # boxes that are compared at once: the memory stays that of a 512 x 512 table however many there are
TINY = 1e-9  # square pixels


def covers(a: Tensor, a_labels: Tensor, b: Tensor, b_labels: Tensor, iou: float) -> Tensor:
    """Which boxes a [N, 4] overlap which boxes b [M, 4] of the same class by more than `iou`; bool [N, M].

    Boxes without area overlap nothing.
    """
    inter = intersection(a[:, None], b[None])
    union = area(a)[:, None] + area(b)[None] - inter
    return (inter / union.clamp(min=TINY) > iou) & (a_labels[:, None] == b_labels[None])


def class_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, limit: int) -> Tensor:
    """Greedy suppression inside each class: a box is removed if a better box of its class that is kept overlaps it.

    boxes [N, 4] xyxy, scores [N], labels [N] -> int64 [K], at most `limit`, in order of score; of equal scores the
    lower index counts as better. Overlap is IoU > `iou` (mmcv's rule, with widths x1 - x0).
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(BLOCK):
        if len(kept) >= limit:
            break
        block = block[~covers(boxes[kept], labels[kept], boxes[block], labels[block], iou).any(0)]
        over = covers(boxes[block], labels[block], boxes[block], labels[block], iou).triu(1)
        stands = torch.ones_like(block, dtype=torch.bool)
        while True:  # the first n are settled after n rounds, and nearly always all of them after a few
            again = ~(over & stands[:, None]).any(0)
            if torch.equal(again, stands):
                break
            stands = again
        kept = torch.cat([kept, block[stands]])
    return kept[:limit]
