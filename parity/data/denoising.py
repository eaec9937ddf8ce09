"""Contrastive denoising (DINO, Zhang et al., ICLR 2023, section 3.3; rtdetr_pytorch/src/zoo/rtdetr/denoising.py).

Noised copies of the ground truth join the queries in training. A group holds every box once with little noise, to be
recovered, and once with more noise, to be rejected. Ground truth and draws are on the host, so the noise is made here,
once for every framework.
"""

from typing import NamedTuple

import numpy as np

from parity.data.draws import Draws
from parity.data.targets import cxcywh_to_xyxy, xyxy_to_cxcywh


class Noised(NamedTuple):
    """Noised ground truth of a batch: N = groups * 2 * (most boxes of an image).

    labels [B, N] int64, the number of classes where an image has fewer boxes; boxes [B, N, 4] cxcywh in 0..1
    mask [N + Q, N + Q] bool, True = must not look; positives: per image the places of the recoverable copies, group by
    group in the order of the boxes
    """

    labels: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray
    positives: list[np.ndarray]
    groups: int


def attention_mask(group: int, groups: int, queries: int) -> np.ndarray:
    """[N + Q, N + Q] with N = group * groups: groups do not see each other, and matching queries see no group."""
    noisy = group * groups
    mask = np.zeros((noisy + queries, noisy + queries), bool)
    mask[noisy:, :noisy] = True
    number = np.arange(noisy) // group
    mask[:noisy, :noisy] = number[:, None] != number[None, :]
    return mask


def noised(
    boxes: list[np.ndarray],
    labels: list[np.ndarray],
    num_classes: int,
    num_queries: int,
    num_denoising: int,
    label_noise_ratio: float,
    box_noise_scale: float,
    draws: Draws,
) -> Noised | None:
    """boxes: per image [n, 4] cxcywh in 0..1; labels: per image [n]. None without boxes or with num_denoising = 0.

    Draws, in this order: which labels change, to what, the sign of the box noise, its size.
    """
    most = max(len(x) for x in labels)
    if num_denoising <= 0 or most == 0:
        return None
    groups = max(1, num_denoising // most)
    batch, noisy, dtype = len(labels), groups * 2 * most, boxes[0].dtype

    label = np.full((batch, most), num_classes, np.int64)
    box = np.zeros((batch, most, 4), dtype)
    real = np.zeros((batch, most), bool)
    for i, (b, c) in enumerate(zip(boxes, labels, strict=True)):
        label[i, : len(c)], box[i, : len(c)], real[i, : len(c)] = c, b, True
    label, box, real = (np.concatenate([x] * (2 * groups), axis=1) for x in (label, box, real))
    negative = (np.arange(noisy) // most) % 2 == 1  # [N]: second half of each group
    positives = [np.flatnonzero(real[i] & ~negative) for i in range(batch)]

    if label_noise_ratio > 0:
        chosen = draws.uniform((batch, noisy)) < label_noise_ratio * 0.5
        other = draws.integers(0, num_classes, (batch, noisy))
        label = np.where(chosen & real, other, label)
    if box_noise_scale > 0:
        sign = draws.integers(0, 2, (batch, noisy, 4)).astype(dtype) * 2 - 1
        size = draws.uniform((batch, noisy, 4)).astype(dtype) + negative[:, None].astype(dtype)
        half = np.concatenate([box[..., 2:]] * 2, axis=-1) * dtype.type(0.5 * box_noise_scale)
        box = xyxy_to_cxcywh(np.clip(cxcywh_to_xyxy(box) + size * sign * half, 0, 1))
    return Noised(label, box, attention_mask(2 * most, groups, num_queries), positives, groups)
