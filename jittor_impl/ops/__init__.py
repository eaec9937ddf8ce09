"""Operators that are slow, inexact or missing in Jittor on CPU; `use` switches to Jittor's own."""

from jittor_impl.ops.batch_norm import affine_norm, batch_norm
from jittor_impl.ops.bce import bce, bce_with_logits
from jittor_impl.ops.bilinear import upsample_bilinear2x
from jittor_impl.ops.channels import concat_channels, halves, interleave
from jittor_impl.ops.conv import conv2d
from jittor_impl.ops.distribution import top_probabilities
from jittor_impl.ops.elementwise import absolute, clamp, maximum, minimum
from jittor_impl.ops.group_norm import group_norm
from jittor_impl.ops.layer_norm import layer_norm
from jittor_impl.ops.matmul import bmm
from jittor_impl.ops.order import argsort, topk
from jittor_impl.ops.reduce import fsum, scaled, square_sum
from jittor_impl.ops.sample import grid_sample, upsample_nearest2x
from jittor_impl.ops.setting import in_use, use
from jittor_impl.ops.softmax import softmax
from jittor_impl.ops.update import adamw, average, sgd

__all__ = [
    "absolute",
    "adamw",
    "affine_norm",
    "argsort",
    "average",
    "batch_norm",
    "bce",
    "bce_with_logits",
    "bmm",
    "clamp",
    "concat_channels",
    "conv2d",
    "fsum",
    "grid_sample",
    "group_norm",
    "halves",
    "in_use",
    "interleave",
    "layer_norm",
    "maximum",
    "minimum",
    "scaled",
    "sgd",
    "softmax",
    "square_sum",
    "top_probabilities",
    "topk",
    "upsample_bilinear2x",
    "upsample_nearest2x",
    "use",
]
