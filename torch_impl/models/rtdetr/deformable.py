"""Multi-scale deformable attention (Zhu et al., "Deformable DETR", ICLR 2021, section 4.1) as RT-DETR uses it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sample_levels(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of values sampled bilinearly, zero outside the map.

    value [B, L, heads, C] of all levels, L = sum of h * w over `shapes`
    locations [B, Q, heads, levels, points, 2] (x, y) with 0..1 across the whole map
    weights [B, Q, heads, levels, points]
    -> [B, Q, heads * C]
    """
    batch, queries, heads, _, points, _ = locations.shape
    channels = value.shape[3]
    # The level stands first, so that each level's grid is contiguous: `grid_sample` is slow on a strided one.
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # [levels, B * heads, Q, points, 2]
    sampled = []
    for level, part in enumerate(value.split([h * w for h, w in shapes], dim=1)):
        h, w = shapes[level]
        plane = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, h, w)
        sampled.append(F.grid_sample(plane, grids[level], "bilinear", "zeros", align_corners=False))
    sampled = torch.cat(sampled, dim=-1)  # [B * heads, C, Q, levels * points]
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, len(shapes) * points)
    return (sampled * weights).sum(-1).reshape(batch, heads * channels, queries).transpose(1, 2)


class MSDeformableAttention(nn.Module):
    """Each query looks at `points` places per level and head, around its reference box."""

    def __init__(self, dim: int, heads: int, levels: int, points: int):
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Offsets start as rays, one direction per head, longer with each point; all places weigh the same."""
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        length = torch.arange(1, self.points + 1, dtype=torch.float32).reshape(1, 1, -1, 1)
        bias = ray.reshape(self.heads, 1, 1, 2).tile(1, self.levels, self.points, 1) * length
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(bias.flatten())
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            for layer in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(layer.weight)
                layer.bias.zero_()

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """query [B, Q, E], reference boxes [B, Q, 4] cxcywh in 0..1, memory [B, L, E] -> [B, Q, E].

        The weights are a softmax over all levels and points. An offset of `points` moves by half the reference's size.
        """
        batch, queries = query.shape[:2]
        places = (batch, queries, self.heads, self.levels, self.points)
        value = self.value_proj(memory).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).reshape(*places, 2)
        weights = self.attention_weights(query).reshape(batch, queries, self.heads, -1).softmax(-1).reshape(places)
        reference = reference[:, :, None, None, None]
        locations = reference[..., :2] + offsets / self.points * reference[..., 2:] * 0.5
        return self.output_proj(sample_levels(value, shapes, locations, weights))

    def macs(self, query: Tensor, *_) -> int:
        """Multiply-accumulates of the sampling: per sampled value 4 for the bilinear mean and 1 for its weight."""
        return query.numel() * self.levels * self.points * 5
