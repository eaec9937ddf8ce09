"""ResNet with the padding mask of its map (detr/models/backbone.py)."""

import torch
from torch import Tensor, nn

from torch_impl.layers import FrozenBatchNorm2d
from torch_impl.models.resnet import ResNet


def nearest_places(size: int, places: int, device: torch.device) -> Tensor:
    """Rows of an image of `size` rows that `places` rows stand for, by nearest interpolation: floor(i * size / places).

    In float32, as torch.nn.functional.interpolate. int64 [places].
    """
    return (torch.arange(places, dtype=torch.float32, device=device) * (size / places)).floor().long()


def padding_mask(sizes: Tensor, image: tuple[int, int], places: tuple[int, int]) -> Tensor:
    """sizes [B, 2] valid (height, width) of a batch of images of one size -> bool [B, *places], True on padding."""
    y, x = (nearest_places(n, p, sizes.device) for n, p in zip(image, places, strict=True))
    return (y >= sizes[:, :1])[:, :, None] | (x >= sizes[:, 1:])[:, None, :]


class Backbone(nn.Module):
    """The last map of a ResNet.

    freeze_norm: every normalisation uses its stored statistics, scale and shift. The others are those of ResNet.
    """

    def __init__(self, depth: int, base_width: int, dilation: bool, frozen_stages: int, freeze_norm: bool):
        super().__init__()
        norm = FrozenBatchNorm2d if freeze_norm else nn.BatchNorm2d
        self.body = ResNet(depth, base_width, (3,), norm, frozen_stages, dilation)
        self.out_channels = self.body.out_channels[0]

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W], sizes [B, 2] -> map [B, C, H / 32, W / 32] (dilated: / 16) and its padding mask."""
        features = self.body(images)[0]
        return features, padding_mask(sizes, images.shape[2:], features.shape[2:])
