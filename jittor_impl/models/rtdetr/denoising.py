"""The denoising queries of RT-DETR on the device; the noise itself is made in `parity.data.denoising`."""

from typing import NamedTuple

import numpy as np

from jittor_impl.runtime import jt
from parity.data.denoising import Noised

Var = jt.Var


class Denoising(NamedTuple):
    """The queries that the decoder adds to its own: N per image.

    labels int32 [B, N], boxes [B, N, 4] logits of cxcywh, mask bool [N + Q, N + Q]; positives and groups stay on the
    host. See `parity.data.denoising.Noised`.
    """

    labels: Var
    boxes: Var
    mask: Var
    positives: list[np.ndarray]
    groups: int


def make_denoising(noise: Noised | None, images: Var) -> Denoising | None:
    """Noised ground truth as queries, on the device of `images`, which Jittor chooses itself; None stays None."""
    if noise is None:
        return None
    labels, boxes, mask = map(jt.array, (noise.labels, logit(noise.boxes), noise.mask))
    return Denoising(labels, boxes, mask, noise.positives, noise.groups)


def logit(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """`jittor_impl.boxes.inverse_sigmoid` of an array: on the host there is no kernel to compile."""
    x = np.clip(x, 0, 1)
    return np.log(np.maximum(x, np.float32(eps)) / np.maximum(1 - x, np.float32(eps)))
