"""GFocalV2 beyond its layers: how its tensors start and which of them files may lack or name otherwise.

Initial values: init_weights of mmdet's ResNet (without a pretrained file), FPN and GFocalHead.
"""

import numpy as np

from parity.weights.init_rules import (
    Request,
    Rule,
    bins,
    fan_out_normal,
    gaussian,
    ones,
    prior_bias,
    xavier_uniform,
    zeros,
)
from parity.weights.models.facts import ModelFacts


def residual_norm(request: Request) -> np.ndarray:
    """0 for the last norm of a residual branch, so that a block starts as its shortcut, 1 for the others."""
    last = request.name.replace(".bn2.", ".bn3.") not in request.shapes or ".bn3." in request.name
    return zeros(request) if last else ones(request)


RULES: list[tuple[str, Rule]] = [
    (r"backbone\..*\.bn[23]\.weight", residual_norm),
    (r"backbone\.(.*\.)?(conv\d|downsample\.0)\.weight", fan_out_normal),
    (r"neck\..*\.conv\.weight", xavier_uniform),
    (r"neck\..*\.conv\.bias", zeros),
    (r"bbox_head\.gfl_cls\.bias", prior_bias),
    (r"bbox_head\.((cls|reg)_convs\.\d+\.conv|gfl_cls|gfl_reg|reg_conf\.\d)\.weight", gaussian(0.01)),
    (r"bbox_head\.(gfl_reg|reg_conf\.\d)\.bias", zeros),
    (r"bbox_head\.scales\.\d+\.scale", ones),
    (r"bbox_head\.integral\.project", bins),
]

FACTS = ModelFacts(
    rules=RULES,
    backbone_prefix="backbone.",
    class_heads=r"bbox_head\.gfl_cls\..*",
    tables=r"bbox_head\.integral\.project",
)
