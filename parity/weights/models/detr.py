"""DETR beyond its layers: how its tensors start and which of them files may lack or name otherwise.

Initial values: _reset_parameters of detr/models/transformer.py; the official backbone is a pretrained one of
torchvision; without a pretrained file it starts with torchvision's own initial values. Heads, projection and biases
have the defaults.
"""

from parity.weights.init_rules import Rule, fan_out_normal, normal, xavier_uniform
from parity.weights.models.facts import ModelFacts

RULES: list[tuple[str, Rule]] = [
    (r"transformer\..*(in_proj_weight|(out_proj|linear[12])\.weight)", xavier_uniform),
    (r"query_embed\.weight", normal),
    (r"backbone\..*(conv\d|downsample\.0)\.weight", fan_out_normal),
]

FACTS = ModelFacts(
    rules=RULES,
    shared=((r"^(transformer\.\w+\.layers)\.\d+\.(linear[12]\.bias)$", r"\1.0.\2"),),  # weights are drawn per layer
    backbone_prefix="backbone.0.body.",
    class_heads=r"class_embed\..*",
)
