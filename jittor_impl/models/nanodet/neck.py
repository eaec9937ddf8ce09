"""GhostPAN, the neck of NanoDet-Plus (nanodet/model/fpn/ghost_pan.py).

A path aggregation network out of ghost bottlenecks (Han et al., "GhostNet", CVPR 2020: half of the channels are
computed from the other half by a cheap depthwise convolution), with one more level below the backbone's last.
"""

from jittor_impl import ops
from jittor_impl.layers import BatchNorm2d
from jittor_impl.models.nanodet.layers import ConvModule, DepthwiseConvModule, activation, depthwise, pointwise
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class GhostModule(nn.Module):
    """1x1 convolution to half of the channels, and a 3x3 depthwise one of its result to the other half."""

    def __init__(self, in_channels: int, out_channels: int, active: bool):
        super().__init__()
        half = out_channels // 2
        last = [activation()] if active else []
        self.primary_conv = nn.Sequential(pointwise(in_channels, half), BatchNorm2d(half), *last)
        last = [activation()] if active else []
        self.cheap_operation = nn.Sequential(depthwise(half, 3), BatchNorm2d(half), *last)

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, H, W]."""
        primary = self.primary_conv(x)
        return ops.concat_channels(primary, self.cheap_operation(primary))


class GhostBottleneck(nn.Module):
    """Two ghost modules, the second without activation, beside a depthwise separable shortcut."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.ghost1 = GhostModule(in_channels, out_channels, active=True)
        self.ghost2 = GhostModule(out_channels, out_channels, active=False)
        self.shortcut = nn.Sequential(
            depthwise(in_channels, kernel),
            BatchNorm2d(in_channels),
            pointwise(in_channels, out_channels),
            BatchNorm2d(out_channels),
        )

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.ghost2(self.ghost1(x)) + self.shortcut(x)


class GhostBlocks(nn.Module):
    """One ghost bottleneck, under the names of the official stack of them."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.blocks = nn.Sequential(GhostBottleneck(in_channels, out_channels, kernel))

    def execute(self, x: Var) -> Var:
        return self.blocks(x)


class GhostPAN(nn.Module):
    """Backbone maps to as many maps and one more, all with `channels` channels.

    in_channels: of the backbone's maps, largest map first; kernel: of the larger depthwise convolutions
    """

    def __init__(self, in_channels: list[int], channels: int, kernel: int):
        super().__init__()
        steps = len(in_channels) - 1

        def ghost() -> nn.ModuleList:
            return nn.ModuleList([GhostBlocks(2 * channels, channels, kernel) for _ in range(steps)])

        def down(count: int) -> nn.ModuleList:
            return nn.ModuleList([DepthwiseConvModule(channels, channels, kernel, 2) for _ in range(count)])

        self.reduce_layers = nn.ModuleList([ConvModule(width, channels, 1) for width in in_channels])
        self.top_down_blocks = ghost()
        self.downsamples = down(steps)
        self.bottom_up_blocks = ghost()
        self.extra_lvl_in_conv = down(1)
        self.extra_lvl_out_conv = down(1)

    def execute(self, maps: list[Var]) -> list[Var]:
        """[B, C_i, H_i, W_i], each map half the one before -> [B, channels, H_i, W_i], and one map half the last."""
        maps = [reduce(x) for reduce, x in zip(self.reduce_layers, maps, strict=True)]
        inner = [maps[-1]]
        for block, low in zip(self.top_down_blocks, reversed(maps[:-1]), strict=True):
            upsampled = ops.upsample_bilinear2x(inner[0])
            inner.insert(0, block(ops.concat_channels(upsampled, low)))
        outs = [inner[0]]
        for down, block, high in zip(self.downsamples, self.bottom_up_blocks, inner[1:], strict=True):
            outs.append(block(ops.concat_channels(down(outs[-1]), high)))
        outs.append(self.extra_lvl_in_conv[0](maps[-1]) + self.extra_lvl_out_conv[0](outs[-1]))
        return outs
