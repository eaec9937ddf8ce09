"""HybridEncoder of RT-DETR (paper section 4.2; rtdetr_pytorch/src/zoo/rtdetr/hybrid_encoder.py).

AIFI: self-attention inside the coarsest map only. CCFM: a feature pyramid down and a path aggregation up again,
whose fusion blocks are CSP layers of RepVGG blocks.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.layers import ConvNorm, activation
from torch_impl.models.transformer import TransformerEncoder


class RepVggBlock(nn.Module):
    """act(3x3 convolution + 1x1 convolution), each with its own normalisation; no identity branch."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3, 1)
        self.conv2 = ConvNorm(channels, channels, 1, 1)
        self.act = activation("silu")

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv1(x) + self.conv2(x))


class CSPRepLayer(nn.Module):
    """conv3(RepVGG blocks(conv1 x) + conv2 x); conv3 is there only if `expansion` changes the width."""

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, expansion: float):
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvNorm(in_channels, hidden, 1, 1, act="silu")
        self.conv2 = ConvNorm(in_channels, hidden, 1, 1, act="silu")
        self.bottlenecks = nn.Sequential(*(RepVggBlock(hidden) for _ in range(num_blocks)))
        self.conv3 = ConvNorm(hidden, out_channels, 1, 1, act="silu") if hidden != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


@lru_cache(maxsize=32)  # a handful of sizes in multi-scale training
def position_table(w: int, h: int, dim: int, temperature: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sine and cosine table [1, w * h, dim] in the order sin(x), cos(x), sin(y), cos(y).

    Row k belongs to x = k // h, y = k % h, but features are flattened the other way round (y = k // w). The official
    code does the same, and checkpoints depend on it. On square maps the table is only transposed.
    """
    omega = 1.0 / temperature ** (torch.arange(dim // 4, dtype=dtype, device=device) / (dim // 4))
    x, y = torch.meshgrid(
        torch.arange(w, dtype=dtype, device=device), torch.arange(h, dtype=dtype, device=device), indexing="ij"
    )
    x, y = x.reshape(-1, 1) * omega, y.reshape(-1, 1) * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)[None]


class HybridEncoder(nn.Module):
    """Backbone maps to as many maps of `hidden_dim` channels and unchanged sizes."""

    def __init__(
        self,
        in_channels: list[int],
        hidden_dim: int,
        num_layers: int,
        heads: int,
        ffn: int,
        dropout: float,
        temperature: float,
        csp_blocks: int,
        expansion: float,
    ):
        super().__init__()
        self.hidden_dim, self.temperature = hidden_dim, temperature
        # Unnamed as in the official code, so that the weight-decay patterns on "norm" do not match these
        # normalisations.
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, hidden_dim, 1, bias=False), nn.BatchNorm2d(hidden_dim)) for c in in_channels
        )
        self.encoder = nn.ModuleList([TransformerEncoder(num_layers, hidden_dim, heads, ffn, dropout, "gelu")])
        steps = len(in_channels) - 1
        self.lateral_convs = nn.ModuleList(ConvNorm(hidden_dim, hidden_dim, 1, 1, act="silu") for _ in range(steps))
        self.fpn_blocks = nn.ModuleList(
            CSPRepLayer(2 * hidden_dim, hidden_dim, csp_blocks, expansion) for _ in range(steps)
        )
        self.downsample_convs = nn.ModuleList(ConvNorm(hidden_dim, hidden_dim, 3, 2, act="silu") for _ in range(steps))
        self.pan_blocks = nn.ModuleList(
            CSPRepLayer(2 * hidden_dim, hidden_dim, csp_blocks, expansion) for _ in range(steps)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[B, C_i, H_i, W_i] from fine to coarse -> [B, hidden_dim, H_i, W_i], the same order."""
        maps = [project(x) for project, x in zip(self.input_proj, maps, strict=True)]
        maps[-1] = self.attend(maps[-1])
        return self.fuse_up(self.fuse_down(maps))

    def attend(self, x: Tensor) -> Tensor:
        """AIFI on one map [B, E, H, W]."""
        h, w = x.shape[2:]
        position = position_table(w, h, self.hidden_dim, self.temperature, x.dtype, x.device)
        out = self.encoder[0](x.flatten(2).transpose(1, 2), position)
        return out.transpose(1, 2).reshape(x.shape)

    def fuse_down(self, maps: list[Tensor]) -> list[Tensor]:
        """Feature pyramid, coarse to fine. The lateral convolution's output replaces the coarse map from then on."""
        outs = [maps[-1]]
        for lateral, block, low in zip(self.lateral_convs, self.fpn_blocks, maps[-2::-1], strict=True):
            outs[0] = lateral(outs[0])
            up = F.interpolate(outs[0], size=low.shape[2:], mode="nearest")
            outs.insert(0, block(torch.cat([up, low], dim=1)))
        return outs

    def fuse_up(self, maps: list[Tensor]) -> list[Tensor]:
        """Path aggregation, fine to coarse."""
        outs = [maps[0]]
        for down, block, high in zip(self.downsample_convs, self.pan_blocks, maps[1:], strict=True):
            outs.append(block(torch.cat([down(outs[-1]), high], dim=1)))
        return outs
