"""Sine position table that knows the padding (paper appendix A.4; detr/models/position_encoding.py)."""

import math

import torch
from torch import Tensor, nn


class PositionEmbeddingSine(nn.Module):
    """Places inside the valid part, counted from 1 and scaled to 2 pi at its end, as sines and cosines.

    features: channels per axis. No parameters.
    """

    def __init__(self, features: int, temperature: float):
        super().__init__()
        self.features, self.temperature = features, temperature

    def forward(self, mask: Tensor) -> Tensor:
        """bool [B, H, W], True on padding -> float32 [B, 2 * features, H, W]: those of y, then those of x."""
        valid = (~mask).float()
        y, x = valid.cumsum(1), valid.cumsum(2)
        y = y / (y[:, -1:, :] + 1e-6) * (2 * math.pi)
        x = x / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
        return torch.cat([self.waves(y), self.waves(x)], dim=3).permute(0, 3, 1, 2)

    def waves(self, angle: Tensor) -> Tensor:
        """[B, H, W] -> [B, H, W, features]: sine and cosine in turn, of ever slower waves."""
        power = torch.arange(0, self.features, 2, dtype=torch.float32, device=angle.device) / self.features
        angle = angle[..., None] / self.temperature**power
        return torch.stack([angle.sin(), angle.cos()], dim=4).flatten(3)
