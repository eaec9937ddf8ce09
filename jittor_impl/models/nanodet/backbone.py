"""ShuffleNetV2 (Ma et al., ECCV 2018) as NanoDet-Plus has it (nanodet/model/backbone/shufflenetv2.py).

LeakyReLU in place of ReLU, and no last 1x1 convolution.
"""

from jittor_impl import ops
from jittor_impl.layers import BatchNorm2d, Conv2d
from jittor_impl.models.nanodet.layers import activation, depthwise, pointwise
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


def channel_shuffle(a: Var, b: Var) -> Var:
    """Two [B, C, H, W] -> [B, 2C, H, W] with their channels in turns: a0, b0, a1, b1, ..."""
    return ops.interleave(a, b)


class ShuffleV2Block(nn.Module):
    """Half of the channels pass through three convolutions, the other half passes unchanged; then both are shuffled.

    With stride 2 both branches see every channel and the other one has two convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        half = out_channels // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                depthwise(in_channels, 3, stride),
                BatchNorm2d(in_channels),
                pointwise(in_channels, half),
                BatchNorm2d(half),
                activation(),
            )
        self.branch2 = nn.Sequential(
            pointwise(in_channels if stride > 1 else half, half),
            BatchNorm2d(half),
            activation(),
            depthwise(half, 3, stride),
            BatchNorm2d(half),
            pointwise(half, half),
            BatchNorm2d(half),
            activation(),
        )

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        by, through = ops.halves(x) if self.stride == 1 else (x, x)
        return channel_shuffle(self.branch1(by), self.branch2(through))


def stage(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    """`count` blocks, the first one with stride 2."""
    rest = [ShuffleV2Block(out_channels, out_channels, 1) for _ in range(count - 1)]
    return nn.Sequential(ShuffleV2Block(in_channels, out_channels, 2), *rest)


class ShuffleNetV2(nn.Module):
    """Images to feature maps of strides 8, 16 and 32.

    channels: of the stem and of the three stages, 24, 116, 232, 464 for "1.0x"; repeats: blocks per stage
    """

    def __init__(self, channels: list[int], repeats: list[int]):
        super().__init__()
        self.conv1 = nn.Sequential(Conv2d(3, channels[0], 3, 2, 1, bias=False), BatchNorm2d(channels[0]), activation())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2 = stage(channels[0], channels[1], repeats[0])
        self.stage3 = stage(channels[1], channels[2], repeats[1])
        self.stage4 = stage(channels[2], channels[3], repeats[2])

    def execute(self, images: Var) -> list[Var]:
        """[B, 3, H, W] -> [B, C_i, H / s, W / s] with s = 8, 16, 32, sizes rounded up."""
        x = self.maxpool(self.conv1(images))
        maps = []
        for blocks in (self.stage2, self.stage3, self.stage4):
            x = blocks(x)
            maps.append(x)
        return maps
