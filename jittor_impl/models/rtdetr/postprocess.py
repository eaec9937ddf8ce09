"""Raw outputs to detections (rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py)."""

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import cxcywh_to_xyxy
from jittor_impl.models.interface import Detected
from jittor_impl.runtime import jt

Var = jt.Var


def detections(logits: Var, boxes: Var, sizes: Var, top: int) -> list[Detected]:
    """The `top` best of all pairs (query, class); no suppression, boxes not clipped.

    logits [B, Q, C], boxes [B, Q, 4] cxcywh in 0..1, sizes [B, 2] (height, width).
    """
    batch, queries, classes = logits.shape
    scores, places = ops.topk(logits.sigmoid().flatten(1), min(top, queries * classes))
    height, width = sizes.float32().unbind(1)
    scale = jt.stack([width, height, width, height], dim=1).unsqueeze(1)
    corners, scores, places = jt.fetch_sync([cxcywh_to_xyxy(boxes) * scale, scores, places])
    query, label = places // classes, (places % classes).astype(np.int64)
    return [Detected(corners[i][query[i]], scores[i].copy(), label[i]) for i in range(batch)]
