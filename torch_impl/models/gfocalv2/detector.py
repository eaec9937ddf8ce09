"""GFocalV2: backbone, feature pyramid and head behind the interface of every detector.

Official code: implus/GFocalV2 (mmdetection 2.6), configs/gfocal.
"""

from typing import Any

from torch import Tensor, nn

from parity.data.targets import Target
from torch_impl.layers import EvalBatchNorm2d
from torch_impl.models.gfocalv2.criterion import Criterion
from torch_impl.models.gfocalv2.head import GFocalHead
from torch_impl.models.gfocalv2.neck import FPN
from torch_impl.models.gfocalv2.postprocess import detections
from torch_impl.models.interface import Detected, Detector, Losses
from torch_impl.models.resnet import ResNet


class GFocalV2(Detector):
    """`options` are those of config/models/gfocalv2.yaml, one variant's merged in, and num_classes."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        o = self.options = options
        self.backbone = ResNet(
            o["depth"],
            base_width=o["base_width"],
            return_idx=(1, 2, 3),
            norm=EvalBatchNorm2d if o["norm_eval"] else nn.BatchNorm2d,
            frozen_stages=o["frozen_stages"],
        )
        self.neck = FPN(self.backbone.out_channels, o["fpn_channels"], len(o["strides"]))
        self.bbox_head = GFocalHead(
            num_classes=o["num_classes"],
            in_channels=o["fpn_channels"],
            channels=o["head_channels"],
            stacked_convs=o["stacked_convs"],
            norm_groups=o["norm_groups"],
            levels=len(o["strides"]),
            reg_max=o["reg_max"],
            reg_topk=o["reg_topk"],
            reg_channels=o["reg_channels"],
            add_mean=o["add_mean"],
        )
        self.criterion = Criterion(
            self.bbox_head.integral,
            strides=o["strides"],
            weights=o["loss_weights"],
            beta=o["qfl_beta"],
            candidates=o["atss_topk"],
            anchor_scale=o["anchor_scale"],
            pad_multiple=o["pad_multiple"],
        )

    def forward(
        self, images: Tensor, sizes: Tensor | None = None, targets: list[Target] | None = None, draws=None
    ) -> dict:
        """images [B, 3, H, W], normalised. Only the images count: nothing depends on sizes, nothing is drawn.

        -> scores and logits: per level [B, classes + 1, H, W] in 0..1 and [B, 4 * (reg_max + 1), H, W].
        """
        scores, logits = self.bbox_head(self.neck(self.backbone(images)))
        return {"scores": scores, "logits": logits}

    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """The total is the plain sum, because the components are weighted."""
        named, parts, assigned = self.criterion(outputs["scores"], outputs["logits"], targets)
        matches = {f"assign/img{i}": numbers for i, numbers in enumerate(assigned.numbers)}
        levels = {f"{name}/lvl{i}": part for name, level in parts.items() for i, part in enumerate(level)}
        return Losses(named, sum(named.values()), matches, levels)

    def detect(self, outputs: dict, sizes: Tensor) -> list[Detected]:
        """The best `max_detections` of each image after suppression inside each class."""
        o = self.options
        return detections(
            outputs["scores"],
            outputs["logits"],
            sizes,
            self.bbox_head.integral,
            strides=o["strides"],
            nms_pre=o["nms_pre"],
            threshold=o["score_threshold"],
            nms_iou=o["nms_iou"],
            limit=o["max_detections"],
        )

    def raw_outputs(self, outputs: dict) -> dict[str, Tensor]:
        """cls_score/lvl<i> and bbox_pred/lvl<i>."""
        scores = {f"cls_score/lvl{i}": x for i, x in enumerate(outputs["scores"])}
        return scores | {f"bbox_pred/lvl{i}": x for i, x in enumerate(outputs["logits"])}
