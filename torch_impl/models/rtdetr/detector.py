"""RT-DETR as a whole: images to outputs, outputs to losses or detections."""

from typing import Any

import torch
from torch import Tensor

from parity.data.denoising import noised
from parity.data.pairing import match_arrays
from parity.data.targets import Target, normalised
from parity.errors import UserError
from torch_impl.layers import give_draws
from torch_impl.models.interface import Detected, Detector, Losses
from torch_impl.models.rtdetr.backbone import BLOCKS, PResNet
from torch_impl.models.rtdetr.criterion import SetCriterion
from torch_impl.models.rtdetr.decoder import RTDETRTransformer
from torch_impl.models.rtdetr.denoising import make_denoising
from torch_impl.models.rtdetr.encoder import HybridEncoder
from torch_impl.models.rtdetr.matcher import HungarianMatcher
from torch_impl.models.rtdetr.postprocess import detections


class RTDETR(Detector):
    """`options` are those of config/models/rtdetr.yaml, one variant's merged in, and num_classes."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        o = self.options = options
        if o["depth"] not in BLOCKS:
            raise UserError(f"depth: {o['depth']} is unknown, expected one of {sorted(BLOCKS)}")
        if o["class_loss"] not in ("vfl", "focal", "bce"):
            raise UserError(f"class_loss: {o['class_loss']} is unknown, expected vfl, focal or bce")
        self.backbone = PResNet(o["depth"], o["base_width"], o["return_idx"], o["freeze_at"], o["freeze_norm"])
        hidden = o["hidden_dim"]
        # The decoder comes before the encoder: the order of the official state dict.
        self.decoder = RTDETRTransformer(
            num_classes=o["num_classes"],
            in_channels=[hidden] * len(self.backbone.out_channels),
            hidden_dim=o["decoder_hidden_dim"],
            num_queries=o["num_queries"],
            num_layers=o["decoder_layers"],
            heads=o["decoder_heads"],
            ffn=o["decoder_ffn"],
            dropout=o["decoder_dropout"],
            points=o["decoder_points"],
            learnt_init_query=o["learnt_init_query"],
        )
        self.encoder = HybridEncoder(
            in_channels=self.backbone.out_channels,
            hidden_dim=hidden,
            num_layers=o["encoder_layers"],
            heads=o["encoder_heads"],
            ffn=o["encoder_ffn"],
            dropout=o["encoder_dropout"],
            temperature=o["pe_temperature"],
            csp_blocks=o["csp_blocks"],
            expansion=o["expansion"],
        )
        matcher = HungarianMatcher(o["match_costs"], o["match_alpha"], o["match_gamma"])
        self.criterion = SetCriterion(matcher, o["class_loss"], o["loss_weights"], o["focal_alpha"], o["focal_gamma"])

    def forward(
        self, images: Tensor, sizes: Tensor | None = None, targets: list[Target] | None = None, draws=None
    ) -> dict:
        """images [B, 3, H, W] in 0..1. `sizes` is not used: images are resized without padding.

        -> main: {logits [B, Q, C], boxes [B, Q, 4] cxcywh in 0..1}, topk_ind [B, Q]; in training also aux: such heads
        of the other layers and of the encoder, dn: those of the denoising queries, denoising: their Denoising or None.
        """
        if not self.training:
            out = self.decoder(self.encoder(self.backbone(images)))
            return {
                "main": {"logits": out["logits"][-1], "boxes": out["boxes"][-1]},
                "topk_ind": out["selection"].places,
            }
        give_draws(self, draws)
        o = self.options
        noise = noised(
            *normalised(targets),
            num_classes=o["num_classes"],
            num_queries=o["num_queries"],
            num_denoising=o["num_denoising"],
            label_noise_ratio=o["label_noise_ratio"],
            box_noise_scale=o["box_noise_scale"],
            draws=draws,
        )
        denoising = make_denoising(noise, images)
        out = self.decoder(self.encoder(self.backbone(images)), denoising)
        noisy = 0 if denoising is None else denoising.labels.shape[1]
        layers = list(zip(out["logits"], out["boxes"], strict=True))
        heads = [{"logits": c[:, noisy:], "boxes": b[:, noisy:]} for c, b in layers]
        selection = out["selection"]
        return {
            "main": heads[-1],
            "aux": [*heads[:-1], {"logits": selection.logits, "boxes": selection.boxes}],
            "dn": [{"logits": c[:, :noisy], "boxes": b[:, :noisy]} for c, b in layers],
            "denoising": denoising,
            "topk_ind": selection.places,
        }

    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """The total is the plain sum, because the components are weighted."""
        named, matches = self.criterion(outputs, *normalised(targets))
        return Losses(named, torch.stack(list(named.values())).sum(), match_arrays(matches))

    def detect(self, outputs: dict, sizes: Tensor) -> list[Detected]:
        """The best `topk_detections` pairs of query and class of each image."""
        main = outputs["main"]
        return detections(main["logits"], main["boxes"], sizes, self.options["topk_detections"])

    def raw_outputs(self, outputs: dict) -> dict[str, Tensor]:
        """pred_logits, pred_boxes and topk_ind."""
        main = outputs["main"]
        return {"pred_logits": main["logits"], "pred_boxes": main["boxes"], "topk_ind": outputs["topk_ind"]}
