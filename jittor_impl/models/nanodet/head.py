"""The head of NanoDet-Plus (nanodet/model/head/nanodet_plus_head.py): one convolution for classes and boxes."""

from jittor_impl.layers import Conv2d
from jittor_impl.models.dense import Integral
from jittor_impl.models.nanodet.layers import DepthwiseConvModule
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class NanoDetPlusHead(nn.Module):
    """Per level its own stack of depthwise separable convolutions and a 1x1 convolution.

    outputs: channels of the result, num_classes + 4 * (reg_max + 1)
    """

    def __init__(self, channels: int, levels: int, stacked: int, kernel: int, outputs: int, reg_max: int):
        super().__init__()
        self.distribution_project = Integral(reg_max)
        self.cls_convs = nn.ModuleList(
            [
                nn.ModuleList([DepthwiseConvModule(channels, channels, kernel) for _ in range(stacked)])
                for _ in range(levels)
            ]
        )
        self.gfl_cls = nn.ModuleList([Conv2d(channels, outputs, 1) for _ in range(levels)])

    def execute(self, maps: list[Var]) -> Var:
        """Per level [B, C, h, w] -> [B, sum of h * w, outputs]: class logits, then the distributions of the 4 sides."""
        levels = []
        for x, convs, last in zip(maps, self.cls_convs, self.gfl_cls, strict=True):
            for conv in convs:
                x = conv(x)
            levels.append(last(x).flatten(2))
        return jt.concat(levels, dim=2).transpose(0, 2, 1)
