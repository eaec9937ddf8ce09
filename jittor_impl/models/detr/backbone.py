"""ResNet with the padding mask of its map (detr/models/backbone.py)."""

import numpy as np

from jittor_impl.layers import BatchNorm2d, FrozenBatchNorm2d
from jittor_impl.models.resnet import ResNet
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn


def nearest_places(size: int, places: int) -> np.ndarray:
    """Rows of an image of `size` rows that `places` rows stand for, by nearest interpolation: floor(i * size / places).

    In float32, as torch.nn.functional.interpolate. int32 [places].
    """
    return np.floor(np.arange(places, dtype=np.float32) * np.float32(size / places)).astype(np.int32)


def padding_mask(sizes: Var, image: tuple[int, int], places: tuple[int, int]) -> Var:
    """sizes [B, 2] valid (height, width) of a batch of images of one size -> bool [B, *places], True on padding."""
    y, x = (jt.array(nearest_places(n, p)) for n, p in zip(image, places, strict=True))
    return (y >= sizes[:, :1]).unsqueeze(2) | (x >= sizes[:, 1:]).unsqueeze(1)


class Backbone(nn.Module):
    """The last map of a ResNet.

    freeze_norm: every normalisation uses its stored statistics, scale and shift. The others are those of ResNet.
    """

    def __init__(self, depth: int, base_width: int, dilation: bool, frozen_stages: int, freeze_norm: bool):
        super().__init__()
        norm = FrozenBatchNorm2d if freeze_norm else BatchNorm2d
        self.body = ResNet(depth, base_width, (3,), norm, frozen_stages, dilation)
        self.out_channels = self.body.out_channels[0]

    def execute(self, images: Var, sizes: Var) -> tuple[Var, Var]:
        """[B, 3, H, W], sizes [B, 2] -> map [B, C, H / 32, W / 32] (dilated: / 16) and its padding mask."""
        features = self.body(images)[0]
        return features, padding_mask(sizes, images.shape[2:], features.shape[2:])
