"""Raw outputs to detections (PostProcess of detr/models/detr.py)."""

import numpy as np

from jittor_impl import ops
from jittor_impl.boxes import cxcywh_to_xyxy
from jittor_impl.models.interface import Detected
from jittor_impl.runtime import jt

Var = jt.Var


def detections(logits: Var, boxes: Var, sizes: Var) -> list[Detected]:
    """One detection per query: its best class other than "no object", the last one; boxes not clipped.

    logits [B, Q, C], boxes [B, Q, 4] cxcywh in 0..1, sizes [B, 2] (height, width).
    """
    labels, scores = jt.argmax(ops.softmax(logits)[:, :, :-1], 2)
    height, width = sizes.float32().unbind(1)
    scale = jt.stack([width, height, width, height], dim=1).unsqueeze(1)
    corners, scores, labels = jt.fetch_sync([cxcywh_to_xyxy(boxes) * scale, scores, labels])
    return [Detected(*image) for image in zip(corners, scores, labels.astype(np.int64), strict=True)]
