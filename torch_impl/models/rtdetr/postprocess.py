"""Raw outputs to detections (rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py)."""

from torch import Tensor

from torch_impl.boxes import cxcywh_to_xyxy
from torch_impl.models.interface import Detected


def detections(logits: Tensor, boxes: Tensor, sizes: Tensor, top: int) -> list[Detected]:
    """The `top` best of all pairs (query, class); no suppression, boxes not clipped.

    logits [B, Q, C], boxes [B, Q, 4] cxcywh in 0..1, sizes [B, 2] (height, width).
    """
    batch, queries, classes = logits.shape
    scores, places = logits.sigmoid().flatten(1).topk(min(top, queries * classes), dim=1)
    scale = sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)  # (w, h, w, h)
    corners = cxcywh_to_xyxy(boxes) * scale
    query, label = places // classes, places % classes
    return [Detected(corners[i][query[i]], scores[i], label[i]) for i in range(batch)]
