"""Contrastive denoising (DINO, Zhang et al., ICLR 2023, section 3.3; rtdetr_pytorch/src/zoo/rtdetr/denoising.py).

Noised copies of the ground truth join the queries in training. A group holds every box once with little noise, to be
recovered, and once with more, to be rejected.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_impl.boxes import cxcywh_to_xyxy, inverse_sigmoid, xyxy_to_cxcywh


class Denoising(NamedTuple):
    """What the decoder adds to its queries: N = groups * 2 * (most boxes of an image).

    labels [B, N] int64, the number of classes where an image has fewer boxes; boxes [B, N, 4] logits of cxcywh
    mask [N + Q, N + Q] bool, True = must not look; positives: per image the places of the recoverable copies, group by
    group in the order of the boxes
    """

    labels: Tensor
    boxes: Tensor
    mask: Tensor
    positives: list[Tensor]
    groups: int


def attention_mask(group: int, groups: int, queries: int, device: torch.device) -> Tensor:
    """[N + Q, N + Q] with N = group * groups: groups do not see each other, and matching queries see no group."""
    noisy = group * groups
    mask = torch.zeros(noisy + queries, noisy + queries, dtype=torch.bool, device=device)
    mask[noisy:, :noisy] = True
    number = torch.arange(noisy, device=device) // group
    mask[:noisy, :noisy] = number[:, None] != number[None, :]
    return mask


def make_denoising(
    boxes: list[Tensor],
    labels: list[Tensor],
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
    batch, noisy, device, dtype = len(labels), groups * 2 * most, boxes[0].device, boxes[0].dtype

    label = torch.full((batch, most), num_classes, dtype=torch.int64, device=device)
    box = torch.zeros(batch, most, 4, dtype=dtype, device=device)
    real = torch.zeros(batch, most, dtype=torch.bool, device=device)
    for i, (b, c) in enumerate(zip(boxes, labels, strict=True)):
        label[i, : len(c)], box[i, : len(c)], real[i, : len(c)] = c, b, True
    label, box, real = label.tile(1, 2 * groups), box.tile(1, 2 * groups, 1), real.tile(1, 2 * groups)
    negative = (torch.arange(noisy, device=device) // most) % 2 == 1  # [N]: second half of each group
    positives = [(real[i] & ~negative).nonzero()[:, 0] for i in range(batch)]

    if label_noise_ratio > 0:
        chosen = torch.from_numpy(draws.uniform((batch, noisy))).to(device) < label_noise_ratio * 0.5
        other = torch.from_numpy(draws.integers(0, num_classes, (batch, noisy))).to(device)
        label = torch.where(chosen & real, other, label)
    if box_noise_scale > 0:
        sign = torch.from_numpy(draws.integers(0, 2, (batch, noisy, 4))).to(device, dtype) * 2 - 1
        size = torch.from_numpy(draws.uniform((batch, noisy, 4))).to(device, dtype) + negative[:, None].to(dtype)
        half = box[..., 2:].tile(1, 1, 2) * 0.5 * box_noise_scale
        box = xyxy_to_cxcywh((cxcywh_to_xyxy(box) + size * sign * half).clamp(0, 1))
    mask = attention_mask(2 * most, groups, num_queries, device)
    return Denoising(label, inverse_sigmoid(box), mask, positives, groups)
