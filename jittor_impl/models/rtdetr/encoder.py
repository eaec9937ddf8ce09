"""HybridEncoder of RT-DETR (paper section 4.2; rtdetr_pytorch/src/zoo/rtdetr/hybrid_encoder.py).

AIFI: self-attention inside the coarsest map only. CCFM: a feature pyramid down and a path aggregation up again,
whose fusion blocks are CSP layers of RepVGG blocks.
"""

from functools import lru_cache

import numpy as np

from jittor_impl import ops
from jittor_impl.layers import BatchNorm2d, Conv2d, ConvNorm, Identity, activation, resize_nearest
from jittor_impl.models.transformer import TransformerEncoder
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class RepVggBlock(nn.Module):
    """act(3x3 convolution + 1x1 convolution), each with its own normalisation; no identity branch."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3, 1)
        self.conv2 = ConvNorm(channels, channels, 1, 1)
        self.act = activation("silu")

    def execute(self, x: Var) -> Var:
        return self.act(self.conv1(x) + self.conv2(x))


class CSPRepLayer(nn.Module):
    """conv3(RepVGG blocks(conv1 x) + conv2 x); conv3 is there only if `expansion` changes the width."""

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, expansion: float):
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvNorm(in_channels, hidden, 1, 1, act="silu")
        self.conv2 = ConvNorm(in_channels, hidden, 1, 1, act="silu")
        self.bottlenecks = nn.Sequential(*(RepVggBlock(hidden) for _ in range(num_blocks)))
        self.conv3 = ConvNorm(hidden, out_channels, 1, 1, act="silu") if hidden != out_channels else Identity()

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


@lru_cache(maxsize=32)  # a handful of sizes in multi-scale training
def position_table(w: int, h: int, dim: int, temperature: float) -> Var:
    """Sine and cosine table [1, w * h, dim] in the order sin(x), cos(x), sin(y), cos(y).

    Row k belongs to x = k // h, y = k % h, but features are flattened the other way round (y = k // w). The official
    code does the same, and checkpoints depend on it. On square maps the table is only transposed.
    """
    omega = 1.0 / temperature ** (np.arange(dim // 4, dtype=np.float32) / (dim // 4))
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32), indexing="ij")
    x, y = x.reshape(-1, 1) * omega, y.reshape(-1, 1) * omega
    table = np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1)[None]
    return jt.array(table.astype(np.float32)).stop_grad()


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
            [nn.Sequential(Conv2d(c, hidden_dim, 1, bias=False), BatchNorm2d(hidden_dim)) for c in in_channels]
        )
        self.encoder = nn.ModuleList([TransformerEncoder(num_layers, hidden_dim, heads, ffn, dropout, "gelu")])
        steps = len(in_channels) - 1
        self.lateral_convs = nn.ModuleList([ConvNorm(hidden_dim, hidden_dim, 1, 1, act="silu") for _ in range(steps)])
        self.fpn_blocks = nn.ModuleList(
            [CSPRepLayer(2 * hidden_dim, hidden_dim, csp_blocks, expansion) for _ in range(steps)]
        )
        self.downsample_convs = nn.ModuleList(
            [ConvNorm(hidden_dim, hidden_dim, 3, 2, act="silu") for _ in range(steps)]
        )
        self.pan_blocks = nn.ModuleList(
            [CSPRepLayer(2 * hidden_dim, hidden_dim, csp_blocks, expansion) for _ in range(steps)]
        )

    def execute(self, maps: list[Var]) -> list[Var]:
        """[B, C_i, H_i, W_i] from fine to coarse -> [B, hidden_dim, H_i, W_i], the same order."""
        maps = [project(x) for project, x in zip(self.input_proj, maps, strict=True)]
        maps[-1] = self.attend(maps[-1])
        return self.fuse_up(self.fuse_down(maps))

    def attend(self, x: Var) -> Var:
        """AIFI on one map [B, E, H, W]."""
        h, w = x.shape[2:]
        position = position_table(w, h, self.hidden_dim, self.temperature)
        out = self.encoder[0](x.flatten(2).transpose(0, 2, 1), position)
        return out.transpose(0, 2, 1).reshape(x.shape)

    def fuse_down(self, maps: list[Var]) -> list[Var]:
        """Feature pyramid, coarse to fine. The lateral convolution's output replaces the coarse map from then on."""
        outs = [maps[-1]]
        for lateral, block, low in zip(self.lateral_convs, self.fpn_blocks, maps[-2::-1], strict=True):
            outs[0] = lateral(outs[0])
            up = resize_nearest(outs[0], (low.shape[2], low.shape[3]))
            outs.insert(0, block(ops.concat_channels(up, low)))
        return outs

    def fuse_up(self, maps: list[Var]) -> list[Var]:
        """Path aggregation, fine to coarse."""
        outs = [maps[0]]
        for down, block, high in zip(self.downsample_convs, self.pan_blocks, maps[1:], strict=True):
            outs.append(block(ops.concat_channels(down(outs[-1]), high)))
        return outs
