"""DETR as a whole: images to outputs, outputs to losses or detections."""

from typing import Any

from jittor_impl.layers import MLP, Conv2d, Embedding, give_draws
from jittor_impl.models.detr.backbone import Backbone
from jittor_impl.models.detr.criterion import SetCriterion
from jittor_impl.models.detr.matcher import HungarianMatcher
from jittor_impl.models.detr.position import PositionEmbeddingSine
from jittor_impl.models.detr.postprocess import detections
from jittor_impl.models.detr.transformer import Transformer
from jittor_impl.models.interface import Detected, Detector, Losses
from jittor_impl.runtime import jt
from parity.data.pairing import match_arrays
from parity.data.targets import Target, normalised
from parity.errors import UserError

Var, nn = jt.Var, jt.nn


class DETR(Detector):
    """`options` are those of config/models/detr.yaml, one variant's merged in, and num_classes."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        o = self.options = options
        if o["pre_norm"]:
            raise UserError("pre_norm: true is not offered, the published models are post-norm (false)")
        hidden = o["hidden_dim"]
        backbone = Backbone(o["depth"], o["base_width"], o["dilation"], o["frozen_stages"], o["freeze_norm"])
        # The order of the official state dict.
        self.transformer = Transformer(
            hidden, o["heads"], o["encoder_layers"], o["decoder_layers"], o["ffn"], o["dropout"]
        )
        self.class_embed = nn.Linear(hidden, o["num_classes"] + 1)
        self.bbox_embed = MLP(hidden, hidden, 4, 3)
        self.query_embed = Embedding(o["num_queries"], hidden)
        self.input_proj = Conv2d(backbone.out_channels, hidden, 1)
        self.backbone = nn.ModuleList([backbone, PositionEmbeddingSine(hidden // 2, o["pe_temperature"])])
        self.criterion = SetCriterion(HungarianMatcher(o["match_costs"]), o["eos_coef"])

    def execute(self, images: Var, sizes: Var | None = None, targets: list[Target] | None = None, draws=None) -> dict:
        """images [B, 3, H, W] normalised and zero beyond `sizes` [B, 2] (height, width); None: nothing is padding.

        -> main: {logits [B, Q, C + 1], boxes [B, Q, 4] cxcywh in 0..1 of the valid image}; in training also aux: such
        heads of the other layers, none without `aux_loss`.
        """
        if self.is_training():
            give_draws(self, draws)
        if sizes is None:
            sizes = jt.array([images.shape[2:]] * images.shape[0])
        body, table = self.backbone
        features, mask = body(images, sizes)
        position = table(mask).stop_grad()
        answers = self.transformer(self.input_proj(features), mask, self.query_embed.weight, position)
        answers = jt.stack(answers if self.options["aux_loss"] else answers[-1:], dim=0)
        logits, boxes = self.class_embed(answers), self.bbox_embed(answers).sigmoid()
        heads = [{"logits": logits[i], "boxes": boxes[i]} for i in range(logits.shape[0])]
        return {"main": heads[-1], "aux": heads[:-1]}

    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """The components are not weighted, the total is."""
        named, matches = self.criterion(outputs, *normalised(targets))
        weights = self.options["loss_weights"]
        total = sum(weights[name.split("_")[1]] * value for name, value in named.items())
        return Losses(named, total, match_arrays(matches))

    def detect(self, outputs: dict, sizes: Var) -> list[Detected]:
        """One detection per query."""
        main = outputs["main"]
        return detections(main["logits"], main["boxes"], sizes)

    def raw_outputs(self, outputs: dict) -> dict[str, Var]:
        """pred_logits and pred_boxes."""
        main = outputs["main"]
        return {"pred_logits": main["logits"], "pred_boxes": main["boxes"]}
