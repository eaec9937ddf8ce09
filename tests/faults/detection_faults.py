"""Mistakes on the way into a network and out of it: images, scores, suppression, boxes."""

from dataclasses import replace

import numpy as np
from model_faults import D, G, N, R, jittor
from PIL import Image
from planting import Fault, detections, operator, option, replaced


def _nearest(f):
    return lambda image, size: np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _bicubic(f):
    return lambda image, size: np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _softmax_scores(f):
    """Logits whose sigmoid is the softmax."""

    def detect(logits, *rest):
        p = jittor().nn.softmax(logits, -1)
        return f((p / (1 - p)).log(), *rest)

    return detect


def _classes_outside(f):
    """Top-k over [classes, queries] while the places are read as [queries, classes]; two classes."""

    def topk(x, count):
        return f(x.reshape([x.shape[0], -1, 2]).transpose(0, 2, 1).reshape(x.shape), count)

    return topk


def _nothing_first(f):
    """The class "no object" taken for the first one, not the last."""

    def softmax(x):
        p = f(x)
        return jittor().concat([p[..., 1:], p[..., :1]], -1)

    return softmax


def xywh(boxes: np.ndarray) -> np.ndarray:
    """Corners [n, 4] as corner and size."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1) if len(boxes) else boxes


COUNT, SCORE = (r"\d+ detections and \d+",), ("for want of an equal score",)
BOX, LABEL = ("for want of an equal box",), ("for want of an equal label",)

DETECTION = [
    Fault(
        "images resized by nearest for bilinear",
        replaced("parity.data.transforms:pillow_resize", _nearest),
        (r"batch \d+/images",),
        (R,),
    ),
    Fault(
        "images resized by bicubic for bilinear",
        replaced("parity.data.transforms:pillow_resize", _bicubic),
        (r"batch \d+/images",),
        (D,),
    ),
    Fault("scores by softmax for sigmoid", replaced("models.rtdetr.detector:detections", _softmax_scores), SCORE, (R,)),
    Fault(
        "scores by sigmoid for softmax",
        operator("models.detr.postprocess", "softmax", lambda f: lambda x: x.sigmoid()),
        SCORE,
        (D,),
    ),
    Fault(
        '"no object" taken for the first class',
        operator("models.detr.postprocess", "softmax", _nothing_first),
        (*SCORE, *LABEL),
        (D,),
    ),
    Fault(
        "top-k of the detections over the wrong axis",
        operator("models.rtdetr.postprocess", "topk", _classes_outside),
        (*BOX, *LABEL),
        (R,),
    ),
    Fault("threshold of suppression 0.5 for 0.6", option("nms_iou", 0.5), COUNT, (G, N)),
    Fault(
        "suppression over all classes together",
        replaced(
            "models.gfocalv2.postprocess:class_nms",
            lambda f: lambda boxes, scores, labels, *rest: f(boxes, scores, labels * 0, *rest),
        ),
        COUNT,
        (G,),
    ),
    Fault("threshold of scores 0.3 for 0.05", option("score_threshold", 0.3), COUNT, (G, N)),
    Fault(
        "boxes not clipped to the image",
        replaced("models.nanodet.detector:clip_boxes", lambda f: lambda boxes, size: boxes),
        BOX,
        (N,),
    ),
    Fault("10 places for 1000 before suppression", option("nms_pre", 10), COUNT, (G,)),
    Fault(
        "boxes as corner and size in the detections",
        detections(lambda d: replace(d, boxes=xywh(d.boxes))),
        BOX,
        ("numpy", R, D, G, N),
    ),
    Fault(
        "labels of detections off by one", detections(lambda d: replace(d, labels=d.labels + 1)), LABEL, ("numpy", D)
    ),
    Fault(
        "last detection dropped",
        detections(lambda d: replace(d, boxes=d.boxes[:-1], scores=d.scores[:-1], labels=d.labels[:-1])),
        COUNT,
        ("numpy", N),
    ),
    Fault(
        "scores as square roots",
        detections(lambda d: replace(d, scores=np.sqrt(np.abs(d.scores)))),
        SCORE,
        ("numpy", G),
    ),
]
