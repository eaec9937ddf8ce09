"""Decoder of RT-DETR with query selection (paper section 4.3; rtdetr_pytorch/src/zoo/rtdetr/rtdetr_decoder.py)."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parity.errors import UserError
from torch_impl.boxes import inverse_sigmoid
from torch_impl.layers import MLP, ConvNorm, Dropout, MultiheadAttention
from torch_impl.models.rtdetr.deformable import MSDeformableAttention
from torch_impl.models.rtdetr.denoising import Denoising


class Selection(NamedTuple):
    """Queries picked from the encoder's positions: places [B, Q], content [B, Q, E] and box logits [B, Q, 4] without
    gradient for the decoder, class logits [B, Q, C] and boxes [B, Q, 4] with gradient for the auxiliary loss."""

    places: Tensor
    content: Tensor
    reference: Tensor
    logits: Tensor
    boxes: Tensor


class TransformerDecoderLayer(nn.Module):
    """Post-norm: self-attention, deformable attention to the memory, feed-forward with ReLU."""

    def __init__(self, dim: int, heads: int, ffn: int, dropout: float, levels: int, points: int):
        super().__init__()
        self.self_attn = MultiheadAttention(dim, heads, dropout)
        self.dropout1 = Dropout(dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn = MSDeformableAttention(dim, heads, levels, points)
        self.dropout2 = Dropout(dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn)
        self.dropout3 = Dropout(dropout)
        self.linear2 = nn.Linear(ffn, dim)
        self.dropout4 = Dropout(dropout)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        reference: Tensor,
        memory: Tensor,
        shapes: list[tuple[int, int]],
        mask: Tensor | None,
    ) -> Tensor:
        """x and position [B, Q, E], reference [B, Q, 4], memory [B, L, E], mask [Q, Q] -> [B, Q, E]."""
        q = x + position
        x = self.norm1(x + self.dropout1(self.self_attn(q, q, x, mask)[0]))
        x = self.norm2(x + self.dropout2(self.cross_attn(x + position, reference, memory, shapes)))
        out = self.dropout4(self.linear2(self.dropout3(F.relu(self.linear1(x)))))
        return self.norm3((x + out).clamp(-65504, 65504))  # the range of float16, for mixed precision


class TransformerDecoder(nn.Module):
    """Layers that refine boxes one after the other."""

    def __init__(self, num_layers: int, dim: int, heads: int, ffn: int, dropout: float, levels: int, points: int):
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerDecoderLayer(dim, heads, ffn, dropout, levels, points) for _ in range(num_layers)
        )

    def forward(
        self,
        x: Tensor,
        reference: Tensor,
        memory: Tensor,
        shapes: list[tuple[int, int]],
        mask: Tensor | None,
        score_head: nn.ModuleList,
        bbox_head: nn.ModuleList,
        query_pos_head: nn.Module,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """x [B, Q, E], reference [B, Q, 4] logits -> class logits [B, Q, C] and boxes [B, Q, 4] per layer.

        In training every layer answers. Its box corrects the box of the previous layer, and the gradient flows through
        that box too. Attention and query positions see the box without gradient. In evaluation only the last layer
        answers.
        """
        logits, boxes = [], []
        previous = given = reference.sigmoid()
        for i, layer in enumerate(self.layers):
            x = layer(x, query_pos_head(given), given, memory, shapes, mask)
            correction = bbox_head[i](x)
            refined = (correction + inverse_sigmoid(given)).sigmoid()
            if self.training:
                logits.append(score_head[i](x))
                boxes.append(refined if i == 0 else (correction + inverse_sigmoid(previous)).sigmoid())
            elif i == len(self.layers) - 1:
                logits.append(score_head[i](x))
                boxes.append(refined)
            previous, given = refined, refined.detach()
        return logits, boxes


@lru_cache(maxsize=32)  # a handful of sizes in multi-scale training
def make_anchors(
    shapes: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device, grid_size: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Box logits [1, L, 4] of one anchor per position, and which are usable [1, L, 1] (bool).

    Centre of the cell, width and height grid_size * 2^level; an anchor with any value outside (0.01, 0.99) is unusable
    and has infinite logits.
    """
    anchors = []
    for level, (h, w) in enumerate(shapes):
        y, x = torch.meshgrid(
            torch.arange(h, dtype=dtype, device=device), torch.arange(w, dtype=dtype, device=device), indexing="ij"
        )
        size = torch.full_like(x, grid_size * 2.0**level)
        anchors.append(torch.stack([(x + 0.5) / w, (y + 0.5) / h, size, size], dim=-1).reshape(1, h * w, 4))
    anchors = torch.cat(anchors, dim=1)
    valid = ((anchors > 0.01) & (anchors < 0.99)).all(-1, keepdim=True)
    return torch.where(valid, torch.log(anchors / (1 - anchors)), torch.inf), valid


class RTDETRTransformer(nn.Module):
    """Encoder maps to the detections of `num_queries` queries."""

    def __init__(
        self,
        num_classes: int,
        in_channels: list[int],
        hidden_dim: int,
        num_queries: int,
        num_layers: int,
        heads: int,
        ffn: int,
        dropout: float,
        points: int,
        learnt_init_query: bool,
    ):
        super().__init__()
        self.num_queries, self.learnt_init_query = num_queries, learnt_init_query
        levels = len(in_channels)
        self.input_proj = nn.ModuleList(ConvNorm(c, hidden_dim, 1, 1) for c in in_channels)
        self.decoder = TransformerDecoder(num_layers, hidden_dim, heads, ffn, dropout, levels, points)
        self.denoising_class_embed = nn.Embedding(num_classes + 1, hidden_dim, padding_idx=num_classes)
        if learnt_init_query:
            self.tgt_embed = nn.Embedding(num_queries, hidden_dim)
        self.query_pos_head = MLP(4, 2 * hidden_dim, hidden_dim, 2)
        self.enc_output = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.LayerNorm(hidden_dim))
        self.enc_score_head = nn.Linear(hidden_dim, num_classes)
        self.enc_bbox_head = MLP(hidden_dim, hidden_dim, 4, 3)
        self.dec_score_head = nn.ModuleList(nn.Linear(hidden_dim, num_classes) for _ in range(num_layers))
        self.dec_bbox_head = nn.ModuleList(MLP(hidden_dim, hidden_dim, 4, 3) for _ in range(num_layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Classes start at probability 0.01, box heads at no correction (official `_reset_parameters`)."""
        for head in [self.enc_score_head, *self.dec_score_head]:
            nn.init.constant_(head.bias, -math.log((1 - 0.01) / 0.01))
        for head in [self.enc_bbox_head, *self.dec_bbox_head]:
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)
        for layer in [self.enc_output[0], *self.query_pos_head.layers]:
            nn.init.xavier_uniform_(layer.weight)
        if self.learnt_init_query:
            nn.init.xavier_uniform_(self.tgt_embed.weight)

    def forward(self, maps: list[Tensor], denoising: Denoising | None = None) -> dict:
        """maps: [B, C_i, H_i, W_i] from fine to coarse.

        -> logits and boxes: per layer [B, N + Q, C] and [B, N + Q, 4], the denoising queries first (N = 0 without);
        selection: the encoder's proposals (Selection).
        """
        maps = [project(x) for project, x in zip(self.input_proj, maps, strict=True)]
        shapes = tuple((x.shape[2], x.shape[3]) for x in maps)
        memory = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
        selection = self.select(memory, shapes)
        content, reference, mask = selection.content, selection.reference, None
        if denoising is not None:
            content = torch.cat([self.denoising_class_embed(denoising.labels), content], dim=1)
            reference = torch.cat([denoising.boxes, reference], dim=1)
            mask = denoising.mask
        logits, boxes = self.decoder(
            content, reference, memory, shapes, mask, self.dec_score_head, self.dec_bbox_head, self.query_pos_head
        )
        return {"logits": logits, "boxes": boxes, "selection": selection}

    def select(self, memory: Tensor, shapes: tuple[tuple[int, int], ...]) -> Selection:
        """Pick the positions whose best class logit is highest; memory [B, L, E].

        An unusable anchor's memory is zeroed but still scored, so it can be picked; its box is (1, 1, 1, 1). Such
        positions tie exactly, hence the stable sort: every framework then picks the same ones.
        """
        if memory.shape[1] < self.num_queries:
            raise UserError(
                f"num_queries: {self.num_queries} queries cannot be picked from {memory.shape[1]} positions, "
                "use larger images or fewer queries"
            )
        anchors, valid = make_anchors(shapes, memory.dtype, memory.device)
        features = self.enc_output(memory * valid.to(memory.dtype))
        logits = self.enc_score_head(features)
        reference = self.enc_bbox_head(features) + anchors
        order = logits.detach().amax(-1).sort(dim=1, descending=True, stable=True).indices
        places = order[:, : self.num_queries]

        def pick(x: Tensor) -> Tensor:
            return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))

        reference, logits = pick(reference), pick(logits)
        if self.learnt_init_query:
            content = self.tgt_embed.weight[None].tile(len(memory), 1, 1)
        else:
            content = pick(features).detach()
        return Selection(places, content, reference.detach(), logits, reference.sigmoid())
