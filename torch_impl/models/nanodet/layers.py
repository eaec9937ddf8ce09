"""Convolution blocks of NanoDet-Plus (nanodet/model/module/conv.py); attributes give the official names."""

from torch import Tensor, nn

SLOPE = 0.1  # of every LeakyReLU; PyTorch's default is 0.01


def activation() -> nn.LeakyReLU:
    """LeakyReLU with the slope of this model."""
    return nn.LeakyReLU(SLOPE, inplace=True)


def depthwise(channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """One filter per channel, without bias; [B, C, H, W] -> [B, C, ceil(H / stride), ceil(W / stride)]."""
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class ConvModule(nn.Module):
    """Convolution without bias, normalisation, activation.

    groups: of a group normalisation, then named `gn`; None for batch normalisation, named `bn`
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, groups: int | None = None):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        if groups is None:
            self.bn = nn.BatchNorm2d(out_channels)
        else:
            self.gn = nn.GroupNorm(groups, out_channels)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        norm = self.bn if hasattr(self, "bn") else self.gn
        return self.act(norm(self.conv(x)))


class DepthwiseConvModule(nn.Module):
    """Depthwise convolution and pointwise convolution, each with batch normalisation and activation."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        self.depthwise = depthwise(in_channels, kernel, stride)
        self.pointwise = pointwise(in_channels, out_channels)
        self.dwnorm = nn.BatchNorm2d(in_channels)
        self.pwnorm = nn.BatchNorm2d(out_channels)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        x = self.act(self.dwnorm(self.depthwise(x)))
        return self.act(self.pwnorm(self.pointwise(x)))
