"""Contrastive denoising (DINO, Zhang et al., ICLR 2023, section 3.3; rtdetr_pytorch/src/zoo/rtdetr/denoising.py).

Noised copies of the ground truth join the queries in training. A group holds every box once with little noise, to be
recovered, and once with more, to be rejected. Ground truth and draws are NumPy arrays, so all of this stays NumPy until
the queries are complete: Jittor would compile a kernel for every other line.
"""

from typing import NamedTuple

import numpy as np

from jittor_impl.runtime import jt

Var = jt.Var


class Denoising(NamedTuple):
    """What the decoder adds to its queries: N = groups * 2 * (most boxes of an image).

    labels [B, N] int32, the number of classes where an image has fewer boxes; boxes [B, N, 4] logits of cxcywh
    mask [N + Q, N + Q] bool, True = must not look; positives: per image the places of the recoverable copies, group by
    group in the order of the boxes (NumPy)
    """

    labels: Var
    boxes: Var
    mask: Var
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


def add_noise(boxes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Move the corners of cxcywh boxes [..., 4] by `noise` [..., 4] and clip them to [0, 1]; cxcywh again."""
    centre, half = boxes[..., :2], boxes[..., 2:] * np.float32(0.5)
    corners = np.clip(np.concatenate([centre - half, centre + half], axis=-1) + noise, 0, 1)
    low, high = corners[..., :2], corners[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def logit(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """`jittor_impl.boxes.inverse_sigmoid` of an array."""
    x = np.clip(x, 0, 1)
    return np.log(np.maximum(x, np.float32(eps)) / np.maximum(1 - x, np.float32(eps)))


def make_denoising(
    boxes: list[np.ndarray],
    labels: list[np.ndarray],
    num_classes: int,
    num_queries: int,
    num_denoising: int,
    label_noise_ratio: float,
    box_noise_scale: float,
    draws,
) -> Denoising | None:
    """boxes: per image [n, 4] cxcywh in 0..1; labels: per image [n]. None without boxes or with num_denoising = 0.

    Draws, in this order: which labels change, to what, the sign of the box noise, its size.
    """
    most = max(len(x) for x in labels)
    if num_denoising <= 0 or most == 0:
        return None
    groups = max(1, num_denoising // most)
    batch, noisy = len(labels), groups * 2 * most

    label = np.full((batch, most), num_classes, np.int64)
    box = np.zeros((batch, most, 4), np.float32)
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
        sign = draws.integers(0, 2, (batch, noisy, 4)).astype(np.float32) * 2 - 1
        size = draws.uniform((batch, noisy, 4)) + negative[:, None].astype(np.float32)
        half = np.concatenate([box[..., 2:]] * 2, axis=-1) * np.float32(0.5 * box_noise_scale)
        box = add_noise(box, size * sign * half)
    mask = attention_mask(2 * most, groups, num_queries)
    return Denoising(jt.array(label.astype(np.int32)), jt.array(logit(box)), jt.array(mask), positives, groups)
