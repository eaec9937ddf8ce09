"""NanoDet-Plus beyond its layers: how its tensors start and which of them files may lack or name otherwise.

Initial values: the init_weights of nanodet/model/module/conv.py, of both heads and of shufflenetv2.py. Ghost modules
and shortcuts of the neck have the defaults. The official backbone is a pretrained one, torchvision's ShuffleNetV2.
"""

import numpy as np

from parity.weights.init_rules import Request, Rule, bins, fan_out_normal, gaussian, normal, ones, zeros
from parity.weights.models.facts import ModelFacts


def backbone_weight(request: Request) -> np.ndarray:
    """N(0, 1) divided by a filter's number of input channels; 1 for norms."""
    return normal(request) / np.float32(request.shape[1]) if len(request.shape) == 4 else ones(request)


def constant(value: float) -> Rule:
    """A rule: the same value everywhere."""
    return lambda request: np.full(request.shape, value, np.float32)


RARE = constant(-4.595)  # a probability of about 0.01, rounded as officially

RULES: list[tuple[str, Rule]] = [
    (r"backbone\..*\.weight", backbone_weight),
    (r"backbone\..*\.bias", constant(0.0001)),
    (r"(aux_)?fpn\.(reduce_layers|downsamples|extra_lvl_\w+)\.\d+\.(conv|depthwise|pointwise)\.weight", fan_out_normal),
    (r"head\.distribution_project\.project", bins),
    (r"head\.(cls_convs\..*\.(depthwise|pointwise)|gfl_cls\.\d+)\.weight", gaussian(0.01)),
    (r"aux_head\.((cls|reg)_convs\.\d+\.conv|gfl_cls|gfl_reg)\.weight", gaussian(0.01)),
    (r"(head\.gfl_cls\.\d+|aux_head\.gfl_cls)\.bias", RARE),
    (r"aux_head\.gfl_reg\.bias", zeros),
    (r"aux_head\.scales\.\d+\.scale", ones),
]

FACTS = ModelFacts(
    rules=RULES,
    shared=((r"^aux_fpn\.", "fpn."),),  # a copy of the first neck
    backbone_prefix="backbone.",
    class_heads=r"(head\.gfl_cls\.\d+|aux_head\.gfl_cls)\..*",
    tables=r"head\.distribution_project\.project",
    training_only=r"aux_(fpn|head)\..*",
    box_bins="head.distribution_project.project",
    box_heads=r"head\.gfl_cls\.\d+\..*",
)
