"""Very small models of all four kinds whose class scores lie far enough apart that rounding changes no order."""

import torch

from parity.config.models import model_config
from torch_impl.models import build

SMALL = {
    "rtdetr": {"num_queries": 12, "hidden_dim": 32, "decoder_hidden_dim": 32, "base_width": 8, "csp_blocks": 1},
    "detr": {"hidden_dim": 32, "base_width": 8, "num_queries": 10},
    "nanodet": {"stage_channels": [8, 16, 32, 64], "stage_repeats": [2, 2, 2], "channels": 32, "score_threshold": 0.6},
    "gfocalv2": {"base_width": 8, "fpn_channels": 32, "head_channels": 32, "nms_pre": 40, "score_threshold": 0.1},
}
MODELS = sorted(SMALL)
CLASSES = {1: "cat", 3: "犬"}
LOUD = ("gfl_cls", "score_head", "class_embed", "bbox_head.1.layers.2")  # untrained heads say the same everywhere


def small(name: str, **overrides):
    """(model of random weights, its configuration) for CLASSES."""
    torch.manual_seed(1)
    places = 4 if name == "detr" else 2  # of DETR: up to the largest category id
    config = model_config(name, "tiny", places, SMALL[name] | overrides)
    model = build(name, config.options).eval()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:  # statistics of noise; with those of the start, nothing reaches the heads
            norm.train().momentum = 1.0
        model(*images(2, 64, 96))
        for norm in norms:
            norm.eval()
        for key, value in model.state_dict().items():
            if any(part in key for part in LOUD) and value.dim() > 1:
                value.normal_(0, 1 / value[0].numel() ** 0.5)
    return model, config


def images(batch: int, height: int, width: int):
    """Images of noise [B, 3, H, W], and sizes that leave padding in all but the first."""
    generator = torch.Generator().manual_seed(height)
    sizes = torch.tensor([[height - 5 * i, width - 9 * i] for i in range(batch)])
    return torch.randn(batch, 3, height, width, generator=generator), sizes
