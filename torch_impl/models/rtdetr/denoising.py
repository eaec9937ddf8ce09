"""The denoising queries of RT-DETR on the device; the noise itself is made in `parity.data.denoising`."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from parity.data.denoising import Noised
from torch_impl.boxes import inverse_sigmoid


class Denoising(NamedTuple):
    """The queries that the decoder adds to its own: N per image.

    labels int64 [B, N], boxes [B, N, 4] logits of cxcywh, mask bool [N + Q, N + Q]; positives and groups stay on the
    host. See `parity.data.denoising.Noised`.
    """

    labels: Tensor
    boxes: Tensor
    mask: Tensor
    positives: list[np.ndarray]
    groups: int


def make_denoising(noise: Noised | None, images: Tensor) -> Denoising | None:
    """Noised ground truth as queries, on the device of `images`; None stays None."""
    if noise is None:
        return None
    labels, boxes, mask = (torch.from_numpy(x).to(images.device) for x in noise[:3])
    return Denoising(labels, inverse_sigmoid(boxes), mask, noise.positives, noise.groups)
