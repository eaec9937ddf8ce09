"""Raw outputs to detections (PostProcess of detr/models/detr.py)."""

from torch import Tensor

from torch_impl.boxes import cxcywh_to_xyxy
from torch_impl.models.interface import Detected


def detections(logits: Tensor, boxes: Tensor, sizes: Tensor) -> list[Detected]:
    """One detection per query: its best class other than "no object", the last one; boxes not clipped.

    logits [B, Q, C], boxes [B, Q, 4] cxcywh in 0..1, sizes [B, 2] (height, width).
    """
    scores, labels = logits.softmax(-1)[..., :-1].max(-1)
    scale = sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)  # (w, h, w, h)
    corners = cxcywh_to_xyxy(boxes) * scale
    return [Detected(*image) for image in zip(corners, scores, labels, strict=True)]
