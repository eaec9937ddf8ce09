"""The auxiliary head of NanoDet-Plus (nanodet/model/head/simple_conv_head.py); it decides the assignment."""

from jittor_impl import ops
from jittor_impl.layers import Conv2d
from jittor_impl.models.dense import Scale
from jittor_impl.models.nanodet.layers import ConvModule
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


class SimpleConvHead(nn.Module):
    """Two stacks of 3x3 convolutions with group normalisation, shared by the levels, for classes and for boxes."""

    def __init__(self, channels: int, levels: int, stacked: int, groups: int, num_classes: int, reg_max: int):
        super().__init__()
        self.cls_convs = nn.ModuleList([ConvModule(channels, channels, 3, groups) for _ in range(stacked)])
        self.reg_convs = nn.ModuleList([ConvModule(channels, channels, 3, groups) for _ in range(stacked)])
        self.gfl_cls = Conv2d(channels, num_classes, 3, padding=1)
        self.gfl_reg = Conv2d(channels, 4 * (reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList([Scale() for _ in range(levels)])

    def execute(self, maps: list[Var]) -> Var:
        """Per level [B, C, h, w] -> [B, sum of h * w, num_classes + 4 * (reg_max + 1)]."""
        levels = []
        for x, scale in zip(maps, self.scales, strict=True):
            classes, boxes = x, x
            for conv in self.cls_convs:
                classes = conv(classes)
            for conv in self.reg_convs:
                boxes = conv(boxes)
            levels.append(ops.concat_channels(self.gfl_cls(classes), scale(self.gfl_reg(boxes))).flatten(2))
        return jt.concat(levels, dim=2).transpose(0, 2, 1)
