"""Feature pyramid (Lin et al., CVPR 2017) with coarser levels made from its own output (mmdet FPN, `on_output`)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolution with bias under the official name."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        return self.conv(x)


class FPN(nn.Module):
    """Backbone maps to `levels` maps of `channels` channels; the levels beyond the backbone's halve the size each."""

    def __init__(self, in_channels: list[int], channels: int, levels: int):
        super().__init__()
        self.lateral_convs = nn.ModuleList(Conv(c, channels, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(
            Conv(channels, channels, 3, stride=1 if i < len(in_channels) else 2) for i in range(levels)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[B, C_i, H_i, W_i] from fine to coarse -> `levels` maps [B, channels, H_i, W_i], the same order."""
        maps = [lateral(x) for lateral, x in zip(self.lateral_convs, maps, strict=True)]
        for i in range(len(maps) - 1, 0, -1):
            maps[i - 1] += F.interpolate(maps[i], size=maps[i - 1].shape[2:], mode="nearest")
        outs = [conv(x) for conv, x in zip(self.fpn_convs, maps, strict=False)]
        for conv in self.fpn_convs[len(maps) :]:
            outs.append(conv(outs[-1]))
        return outs
