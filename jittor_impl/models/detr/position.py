"""Sine position table that knows the padding (paper appendix A.4; detr/models/position_encoding.py)."""

import math

import numpy as np

from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class PositionEmbeddingSine(nn.Module):
    """Places inside the valid part, counted from 1 and scaled to 2 pi at its end, as sines and cosines.

    features: channels per axis. No parameters.
    """

    def __init__(self, features: int, temperature: float):
        super().__init__()
        self.features, self.temperature = features, temperature

    def execute(self, mask: Var) -> Var:
        """bool [B, H, W], True on padding -> float32 [B, 2 * features, H, W]: those of y, then those of x."""
        valid = mask.logical_not().float32()
        y, x = running_sum(valid.transpose(0, 2, 1)).transpose(0, 2, 1), running_sum(valid)
        y = y / (y[:, -1:, :] + 1e-6) * (2 * math.pi)
        x = x / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
        return jt.concat([self.waves(y), self.waves(x)], dim=3).transpose(0, 3, 1, 2)

    def waves(self, angle: Var) -> Var:
        """[B, H, W] -> [B, H, W, features]: sine and cosine in turn, of ever slower waves."""
        power = np.arange(0, self.features, 2, dtype=np.float32) / self.features
        angle = angle.unsqueeze(3) / jt.array(np.float32(self.temperature) ** power)
        return jt.stack([angle.sin(), angle.cos()], dim=4).flatten(3)


def running_sum(x: Var) -> Var:
    """[B, N, M] -> same shape, summed along the last axis: a product, because Jittor sums on the host otherwise."""
    return jt.matmul(x, jt.array(np.triu(np.ones((x.shape[2], x.shape[2]), np.float32))))
