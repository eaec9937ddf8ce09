"""GFL head V2: class-quality scores and box distributions per place (Li et al., CVPR 2021; mmdet GFocalHead)."""

import torch
from torch import Tensor, nn

from torch_impl.models.dense import Integral, Scale


class ConvGN(nn.Module):
    """3x3 convolution without bias, group normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, groups: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.gn = nn.GroupNorm(groups, out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.relu(self.gn(self.conv(x)))


def top_statistics(logits: Tensor, bins: int, top: int, mean: bool) -> Tensor:
    """The `top` largest probabilities of each side's distribution and, if `mean`, their mean.

    logits [B, 4 * bins, H, W], side after side -> [B, 4 * (top + mean), H, W], side after side.
    """
    largest = logits.unflatten(1, (4, bins)).softmax(2).topk(top, dim=2).values
    if mean:
        largest = torch.cat([largest, largest.mean(2, keepdim=True)], 2)
    return largest.flatten(1, 2)


class GFocalHead(nn.Module):
    """The same towers on every level; a level has only a factor of its own, on the box logits.

    The score of a class is its probability times the quality that the shape of the box's distributions suggests
    (distribution-guided quality predictor). As in the official code, the head has one class more than the data; no box
    ever has it.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        channels: int,
        stacked_convs: int,
        norm_groups: int,
        levels: int,
        reg_max: int,
        reg_topk: int,
        reg_channels: int,
        add_mean: bool,
    ):
        super().__init__()
        self.reg_max, self.reg_topk, self.add_mean = reg_max, reg_topk, add_mean
        widths = [in_channels] + [channels] * (stacked_convs - 1)
        self.cls_convs = nn.ModuleList(ConvGN(width, channels, norm_groups) for width in widths)
        self.reg_convs = nn.ModuleList(ConvGN(width, channels, norm_groups) for width in widths)
        self.gfl_cls = nn.Conv2d(channels, num_classes + 1, 3, padding=1)
        self.gfl_reg = nn.Conv2d(channels, 4 * (reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in range(levels))
        statistics = 4 * (reg_topk + int(add_mean))
        self.reg_conf = nn.Sequential(
            nn.Conv2d(statistics, reg_channels, 1), nn.ReLU(inplace=True), nn.Conv2d(reg_channels, 1, 1), nn.Sigmoid()
        )
        self.integral = Integral(reg_max)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level [B, in, H, W] -> scores in 0..1 [B, classes + 1, H, W], box logits [B, 4 * (reg_max + 1), H, W]."""
        levels = [self.forward_level(x, scale) for x, scale in zip(maps, self.scales, strict=True)]
        return [scores for scores, _ in levels], [logits for _, logits in levels]

    def forward_level(self, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """One level's scores and box logits. Gradients of the quality reach the box logits."""
        cls_feat = reg_feat = x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        logits = scale(self.gfl_reg(reg_feat))
        quality = self.reg_conf(top_statistics(logits, self.reg_max + 1, self.reg_topk, self.add_mean))
        return self.gfl_cls(cls_feat).sigmoid() * quality, logits
