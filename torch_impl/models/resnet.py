"""ResNet (He et al., CVPR 2016) under the names of torchvision.models.resnet, without the classifier.

The stride of a bottleneck sits in its 3x3 convolution. Files of ImageNet weights load by their own keys.
"""

from torch import Tensor, nn

from parity.errors import UserError

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Convolution without bias, padded so that stride 1 keeps the size."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the first one carries the stride."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, norm):
        super().__init__()
        self.conv1 = conv(in_channels, width, 3, stride, dilation)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, 1, dilation)
        self.bn2 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride and the dilation, 1x1 to four times the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, norm):
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv(in_channels, width, 1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, stride, dilation)
        self.bn2 = norm(width)
        self.conv3 = conv(width, out_channels, 1)
        self.bn3 = norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def shortcut(in_channels: int, out_channels: int, stride: int, norm) -> nn.Sequential | None:
    """1x1 convolution and normalisation where a block changes size or channels."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), norm(out_channels))


class ResNet(nn.Module):
    """Images to feature maps. Raises UserError for an unknown depth.

    depth: 18 or 34 (basic blocks), 50 or 101 (bottlenecks)
    base_width: channels of the stem and width of the first stage (64 officially; tiny variants have less)
    return_idx: stages whose maps are returned, 0 to 3
    norm: class of the normalisation, for example FrozenBatchNorm2d, or EvalBatchNorm2d for running statistics that
        training leaves alone while it changes scale and shift
    frozen_stages: the stem (>= 0) and the first `frozen_stages` stages get no gradient; -1 freezes nothing
    dilation: the last stage keeps the size and dilates its 3x3 convolutions by 2, but for the first block's (DC5)
    """

    def __init__(
        self,
        depth: int,
        base_width: int = 64,
        return_idx: tuple[int, ...] = (0, 1, 2, 3),
        norm=nn.BatchNorm2d,
        frozen_stages: int = -1,
        dilation: bool = False,
    ):
        super().__init__()
        if depth not in BLOCKS:
            raise UserError(f"depth: {depth} is unknown, expected one of {sorted(BLOCKS)}")
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(3, base_width, 7, 2, padding=3, bias=False)
        self.bn1 = norm(base_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, widths = base_width, [base_width * 2**i for i in range(4)]
        for i, (width, count) in enumerate(zip(widths, BLOCKS[depth], strict=True)):
            dilated = dilation and i == 3
            blocks = [block(channels, width, 1 if i == 0 or dilated else 2, 1, norm)]
            channels = width * block.expansion
            blocks += [block(channels, width, 1, 2 if dilated else 1, norm) for _ in range(count - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.return_idx = list(return_idx)
        self.out_channels = [widths[i] * block.expansion for i in self.return_idx]
        if frozen_stages >= 0:
            for part in [self.conv1, self.bn1, *self.stages()[:frozen_stages]]:
                part.requires_grad_(False)

    def stages(self) -> list[nn.Sequential]:
        """The four stages from fine to coarse."""
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps of the stages in `return_idx`, [B, C_i, H / s, W / s] with s = 4, 8, 16, 32.

        With dilation the last map has s = 16. Sizes are rounded up.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for i, stage in enumerate(self.stages()):
            x = stage(x)
            if i in self.return_idx:
                maps.append(x)
        return maps
