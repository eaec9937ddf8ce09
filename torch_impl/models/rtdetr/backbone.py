"""PResNet, the ResNet-vd of RT-DETR (rtdetr_pytorch/src/nn/backbone/presnet.py): depths 18, 34, 50 and 101.

Variant d: a stem of three 3x3 convolutions, the stride of a bottleneck in its 3x3 convolution, and shortcuts that
average-pool before a 1x1 convolution.
"""

from torch import Tensor, nn

from torch_impl.layers import ConvNorm, FrozenBatchNorm2d

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}


class PooledShortcut(nn.Module):
    """Average pooling over 2x2 (sizes rounded up), then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, norm):
        super().__init__()
        self.pool = nn.AvgPool2d(2, 2, 0, ceil_mode=True)
        self.conv = ConvNorm(in_channels, out_channels, 1, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(x))


def shortcut(in_channels: int, out_channels: int, stride: int, norm) -> nn.Module:
    """Shortcut of the first block of a stage; only strided ones pool."""
    if stride == 2:
        return PooledShortcut(in_channels, out_channels, norm)
    return ConvNorm(in_channels, out_channels, 1, stride, norm=norm)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the first one carries the stride."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, first: bool, norm):
        super().__init__()
        if first:
            self.short = shortcut(in_channels, width, stride, norm)
        self.first = first
        self.branch2a = ConvNorm(in_channels, width, 3, stride, act="relu", norm=norm)
        self.branch2b = ConvNorm(width, width, 3, 1, norm=norm)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, width, H / stride, W / stride]."""
        out = self.branch2b(self.branch2a(x))
        return self.act(out + (self.short(x) if self.first else x))


class BottleNeck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, first: bool, norm):
        super().__init__()
        self.branch2a = ConvNorm(in_channels, width, 1, 1, act="relu", norm=norm)
        self.branch2b = ConvNorm(width, width, 3, stride, act="relu", norm=norm)
        self.branch2c = ConvNorm(width, width * self.expansion, 1, 1, norm=norm)
        if first:
            self.short = shortcut(in_channels, width * self.expansion, stride, norm)
        self.first = first
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        out = self.branch2c(self.branch2b(self.branch2a(x)))
        return self.act(out + (self.short(x) if self.first else x))


class Stage(nn.Module):
    """Blocks of one width; the first one changes channels and, but for stage 0, halves the size."""

    def __init__(self, block, in_channels: int, width: int, count: int, stride: int, norm):
        super().__init__()
        self.blocks = nn.ModuleList()
        for i in range(count):
            self.blocks.append(block(in_channels, width, stride if i == 0 else 1, i == 0, norm))
            in_channels = width * block.expansion

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Stem(nn.Module):
    """Three 3x3 convolutions, the first with stride 2."""

    def __init__(self, width: int, norm):
        super().__init__()
        self.conv1_1 = ConvNorm(3, width // 2, 3, 2, act="relu", norm=norm)
        self.conv1_2 = ConvNorm(width // 2, width // 2, 3, 1, act="relu", norm=norm)
        self.conv1_3 = ConvNorm(width // 2, width, 3, 1, act="relu", norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, width, H / 2, W / 2]."""
        return self.conv1_3(self.conv1_2(self.conv1_1(x)))


class PResNet(nn.Module):
    """Images to feature maps.

    base_width: channels of the stem and of stage 0 (64 officially; the tiny variant has less)
    freeze_at: the stem (>= 0) and the first `freeze_at` stages get no gradient; -1 freezes nothing
    freeze_norm: every normalisation uses its stored statistics, scale and shift
    """

    def __init__(self, depth: int, base_width: int, return_idx: list[int], freeze_at: int, freeze_norm: bool):
        super().__init__()
        norm = FrozenBatchNorm2d if freeze_norm else nn.BatchNorm2d
        block = BasicBlock if depth < 50 else BottleNeck
        self.conv1 = Stem(base_width, norm)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.res_layers = nn.ModuleList()
        channels, widths = base_width, [base_width * 2**i for i in range(4)]
        for i, (width, count) in enumerate(zip(widths, BLOCKS[depth], strict=True)):
            self.res_layers.append(Stage(block, channels, width, count, 1 if i == 0 else 2, norm))
            channels = width * block.expansion
        self.return_idx = list(return_idx)
        self.out_channels = [widths[i] * block.expansion for i in self.return_idx]
        if freeze_at >= 0:
            for part in [self.conv1, *self.res_layers[:freeze_at]]:
                part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps of the stages in `return_idx`, officially [B, C_i, H / s, W / s] with s = 8, 16, 32."""
        x = self.pool(self.conv1(images))
        maps = []
        for i, stage in enumerate(self.res_layers):
            x = stage(x)
            if i in self.return_idx:
                maps.append(x)
        return maps
