"""Operators that PyTorch computes in one way and ONNX in another, with the same result to the last bit.

Each is a function whose `forward` is what PyTorch computes and whose `symbolic` is the ONNX operator in its place. The
order of equal scores matters: it decides which detection is cut off. ONNX's TopK and onnxruntime's
NonMaxSuppression put the lower index first, as the stable sorts of the models do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.onnx import symbolic_helper

from torch_impl.nms import class_nms


class TopK(torch.autograd.Function):
    """(values, indices) of the `k` largest along the last axis, best first; of equal values the lower index first.

    Where the axis is shorter than `k`, all of it.
    """

    @staticmethod
    def forward(ctx, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, indices = x.sort(dim=-1, descending=True, stable=True)
        return values[..., :k], indices[..., :k]

    @staticmethod
    def symbolic(g, x, k: int):
        length = g.op("Gather", g.op("Shape", x), number(g, [-1]))
        return g.op("TopK", x, g.op("Min", length, number(g, [k])), axis_i=-1, outputs=2)


class BestPlaces(torch.autograd.Function):
    """Indices [B, n] of the `limit` largest of x [B, N], best first; 0 .. N - 1 as they are where N is no larger."""

    @staticmethod
    def forward(ctx, x: Tensor, limit: int) -> Tensor:
        if x.shape[1] <= limit:
            return torch.arange(x.shape[1], device=x.device).expand(x.shape)
        return x.sort(dim=1, descending=True, stable=True).indices[:, :limit]

    @staticmethod
    def symbolic(g, x, limit: int):
        length = g.op("Gather", g.op("Shape", x), number(g, [1]))
        # Of equal values the lower index comes first: values multiplied by zero stay in their order.
        larger = g.op("CastLike", g.op("Greater", length, number(g, [limit])), x)
        return g.op("TopK", g.op("Mul", x, larger), g.op("Min", length, number(g, [limit])), axis_i=1, outputs=2)[1]


class ClassNMS(torch.autograd.Function):
    """Greedy suppression inside each class of each image, as `torch_impl.nms.class_nms` does it.

    boxes [B, N, 4] xyxy, scores [B, C, N] -> int64 [M, 3], rows (image, class, box). Only scores above `threshold`
    take part; at most `limit` boxes of each class and image are kept.
    """

    @staticmethod
    def forward(ctx, boxes: Tensor, scores: Tensor, limit: int, iou: float, threshold: float) -> Tensor:
        kept = [torch.zeros((0, 3), dtype=torch.int64, device=boxes.device)]
        for image in range(scores.shape[0]):
            for label in range(scores.shape[1]):
                some = (scores[image, label] > threshold).nonzero()[:, 0]
                same = torch.zeros_like(some)
                places = some[class_nms(boxes[image, some], scores[image, label, some], same, iou, limit)]
                kept.append(torch.stack([same.new_tensor(image).expand(places.shape),
                                         same.new_tensor(label).expand(places.shape), places], dim=1))  # fmt: skip
        return torch.cat(kept)

    @staticmethod
    def symbolic(g, boxes, scores, limit: int, iou: float, threshold: float):
        limits = [g.op("Constant", value_t=torch.tensor([value])) for value in (iou, threshold)]
        return g.op("NonMaxSuppression", boxes, scores, number(g, [limit]), *limits)


def number(g, values: list[int]):
    """A constant int64 vector of the graph."""
    return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))


@symbolic_helper.parse_args("v", "none", "i", "i")
def _stable_sort(g, x, stable, dim: int, descending: int):
    """aten::sort with its argument `stable`, for which PyTorch's exporter has no rule."""
    length = g.op("Gather", g.op("Shape", x), number(g, [dim]))
    return g.op("TopK", x, length, axis_i=dim, largest_i=descending, outputs=2)


@contextmanager
def stable_sorts(opset: int) -> Iterator[None]:
    """While inside, stable sorts can be exported."""
    torch.onnx.register_custom_op_symbolic("aten::sort", _stable_sort, opset)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::sort", opset)
