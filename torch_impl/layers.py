"""Layers that several detectors share. Parameter names are those of the official checkpoints."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics, scale and shift are buffers: nothing is trained, nothing is updated.

    Has no `num_batches_tracked`, as the frozen norms of RT-DETR (r50, r101) and DETR.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> same shape."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


class EvalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with its stored statistics in training too; scale and shift are trained."""

    def train(self, mode: bool = True) -> "EvalBatchNorm2d":
        """Stays in evaluation mode."""
        return super().train(False)


def activation(name: str | None) -> nn.Module:
    """ "relu", "silu", "gelu" (exact, with erf) or None for the identity.

    Every ReLU of a model overwrites its input, as in the official codes: less time and memory, and the same bits.
    """
    if name == "relu":
        return nn.ReLU(inplace=True)
    return {"silu": nn.SiLU, "gelu": nn.GELU, None: nn.Identity}[name]()


class ConvNorm(nn.Module):
    """Convolution without bias, normalisation, activation. `norm` is the class of the normalisation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, act: str | None = None, norm=nn.BatchNorm2d
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        self.norm = norm(out_channels)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        return self.act(self.norm(self.conv(x)))


class Dropout(nn.Module):
    """Dropout whose mask comes from `draws` (see parity.data.draws), so that two frameworks drop the same elements.

    The detector hands its draws to every Dropout before a training forward (`give_draws`).
    """

    def __init__(self, p: float):
        super().__init__()
        self.p, self.draws = p, None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.from_numpy(self.draws.uniform(tuple(x.shape))).to(x.device) >= self.p
        return x * keep.to(x.dtype) / (1 - self.p)


def give_draws(model: nn.Module, draws) -> None:
    """Let every Dropout inside `model` draw from `draws`."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.draws = draws


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention over several heads, batch first; names and initial values are PyTorch's own.

    in_proj_weight [3E, E] holds the rows of query, key and value, one after the other.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.drop = Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, None]:
        """query [B, Q, E], key and value [B, K, E] -> ([B, Q, E], None).

        mask: bool, True where a query must not look at a key; [Q, K] for all, or [B, 1, Q or 1, K].
        The second element stands where the official module returns attention weights.
        """
        parts = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2) for x, w, b in parts)
        if self.training and self.drop.p > 0:
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
            if mask is not None:
                scores = scores.masked_fill(mask, float("-inf"))
            out = self.drop(scores.softmax(-1)) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else ~mask)
        return self.out_proj(out.transpose(1, 2).flatten(2)), None

    def macs(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> int:
        """Multiply-accumulates of the input projections, query * key and weights * value."""
        return (query.numel() + key.numel() + value.numel()) * self.dim + 2 * query.numel() * key.shape[1]


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
