"""RT-DETR beyond its layers: how its tensors start and which of them files may lack or name otherwise.

Initial values: rtdetr_pytorch/src/zoo/rtdetr/rtdetr_decoder.py, the _reset_parameters of RTDETRTransformer and of
MSDeformableAttention. Backbone, encoder and input projections have the defaults.
"""

import math

import numpy as np

from parity.weights.init_rules import Request, Rule, normal, prior_bias, xavier_uniform, zeros
from parity.weights.models.facts import ModelFacts


def sampling_directions(request: Request) -> np.ndarray:
    """Bias of the sampling offsets, [heads * levels * points * 2] laid out (head, level, point, xy).

    Head h looks along the angle 2 pi h / heads, scaled so that the larger coordinate is 1; point p goes p + 1 times as
    far. In float64 before rounding, so that no machine's float32 sine decides the bits.
    """
    heads, points = request.options["decoder_heads"], request.options["decoder_points"]
    levels = request.shape[0] // (heads * points * 2)
    angles = np.arange(heads) * (2 * math.pi / heads)
    grid = np.stack([np.cos(angles), np.sin(angles)], -1)
    grid /= np.abs(grid).max(-1, keepdims=True)
    reach = np.arange(1, points + 1)
    directions = np.broadcast_to(grid[:, None, None, :] * reach[:, None], (heads, levels, points, 2))
    return directions.reshape(request.shape).astype(np.float32)


def padded_embedding(request: Request) -> np.ndarray:
    """N(0, 1); the last row, the padding index, is zero (torch.nn.Embedding)."""
    values = normal(request)
    values[-1] = 0
    return values


RULES: list[tuple[str, Rule]] = [
    (r"decoder\.(enc_score_head|dec_score_head\.\d+)\.bias", prior_bias),
    (r"decoder\.(enc_bbox_head|dec_bbox_head\.\d+)\.layers\.2\.(weight|bias)", zeros),
    (r"decoder\.enc_output\.0\.weight", xavier_uniform),
    (r"decoder\.query_pos_head\.layers\.[01]\.weight", xavier_uniform),
    (r"decoder\.tgt_embed\.weight", xavier_uniform),
    (r"decoder\.denoising_class_embed\.weight", padded_embedding),
    (r".*\.cross_attn\.sampling_offsets\.weight", zeros),
    (r".*\.cross_attn\.sampling_offsets\.bias", sampling_directions),
    (r".*\.cross_attn\.attention_weights\.(weight|bias)", zeros),
    (r".*\.cross_attn\.(value_proj|output_proj)\.weight", xavier_uniform),
    (r".*\.cross_attn\.(value_proj|output_proj)\.bias", zeros),
]

FACTS = ModelFacts(
    rules=RULES,
    shared=(
        (r"^decoder\.decoder\.layers\.\d+\.", "decoder.decoder.layers.0."),
        (r"^encoder\.encoder\.\d+\.layers\.\d+\.", "encoder.encoder.0.layers.0."),
    ),
    backbone_prefix="backbone.",
    class_heads=r"decoder\.(denoising_class_embed|enc_score_head|dec_score_head\.\d+)\..*",
    tables=r"decoder\.(anchors|valid_mask)|encoder\.pos_embed\d*",
)
