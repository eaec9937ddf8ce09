"""NanoDet-Plus as a whole: images to outputs, outputs to losses or detections (nanodet/model/arch/nanodet_plus.py)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.data.assign import level_points
from parity.data.targets import Target
from torch_impl.models.dense import clip_boxes, distances_to_boxes
from torch_impl.models.interface import Detected, Detector, Losses
from torch_impl.models.nanodet.aux_head import SimpleConvHead
from torch_impl.models.nanodet.backbone import ShuffleNetV2
from torch_impl.models.nanodet.criterion import Criterion, Prediction
from torch_impl.models.nanodet.head import NanoDetPlusHead
from torch_impl.models.nanodet.neck import GhostPAN
from torch_impl.nms import class_nms


class NanoDetPlus(Detector):
    """`options` are those of config/models/nanodet.yaml, one variant's merged in, and num_classes."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        o = self.options = options
        classes, channels, reg_max, levels = o["num_classes"], o["channels"], o["reg_max"], len(o["strides"])
        widths = o["stage_channels"]
        self.backbone = ShuffleNetV2(widths, o["stage_repeats"])
        self.fpn = GhostPAN(widths[1:], channels, o["kernel"])
        self.head = NanoDetPlusHead(
            channels, levels, o["stacked_convs"], o["kernel"], classes + 4 * (reg_max + 1), reg_max
        )
        self.aux_fpn = GhostPAN(widths[1:], channels, o["kernel"])
        self.aux_head = SimpleConvHead(2 * channels, levels, o["aux_convs"], o["aux_groups"], classes, reg_max)
        self.criterion = Criterion(reg_max, o["loss_weights"], o["qfl_beta"], o["assign_topk"], o["assign_iou_factor"])

    def forward(
        self, images: Tensor, sizes: Tensor | None = None, targets: list[Target] | None = None, draws=None
    ) -> dict:
        """images [B, 3, H, W], normalised. `sizes`, targets and draws are not used: nothing is padded or random.

        -> preds [B, N, C + 4 * (reg_max + 1)], points [N, 2] and strides [N] of the N places in pixels; in training
        also aux_preds like preds. From epoch `detach_epoch` on the auxiliary part learns without changing the rest.
        """
        features = self.backbone(images)
        maps = self.fpn(features)
        outputs = {"preds": self.head(maps)} | self.places(images)
        if self.training:
            detach = self.epoch >= self.options["detach_epoch"]
            own = self.aux_fpn([x.detach() for x in features] if detach else features)
            pairs = [torch.cat([x.detach() if detach else x, y], dim=1) for x, y in zip(maps, own, strict=True)]
            outputs["aux_preds"] = self.aux_head(pairs)
        return outputs

    def places(self, images: Tensor) -> dict[str, Tensor]:
        """points [N, 2] and strides [N] of all levels for these images, in the order of the predictions."""
        strides, (height, width) = self.options["strides"], images.shape[2:]
        shapes = [(-(-height // stride), -(-width // stride)) for stride in strides]
        each = np.repeat(np.array(strides, np.float32), [h * w for h, w in shapes])
        arrays = {"points": level_points(shapes, strides), "strides": each}
        return {name: torch.from_numpy(array).to(images) for name, array in arrays.items()}

    def decode(self, preds: Tensor, outputs: dict) -> Prediction:
        """Split a head's result; boxes are those of the expected distances, in pixels, not clipped."""
        logits, distributions = preds.tensor_split([self.options["num_classes"]], dim=-1)
        distances = self.head.distribution_project(distributions) * outputs["strides"][:, None]
        return Prediction(logits, distributions, distances_to_boxes(outputs["points"], distances))

    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """The total is the plain sum, because the components are weighted."""
        heads = {"": self.decode(outputs["preds"], outputs), "aux_": self.decode(outputs["aux_preds"], outputs)}
        named, assigned = self.criterion(heads, heads["aux_"], outputs["points"], outputs["strides"], targets)
        arrays = {f"assign/img{i}": image for i, image in enumerate(assigned)}
        return Losses(named, torch.stack(list(named.values())).sum(), arrays)

    def detect(self, outputs: dict, sizes: Tensor) -> list[Detected]:
        """Every pair of place and class above `score_threshold`, suppressed class by class."""
        o, found = self.options, []
        head = self.decode(outputs["preds"], outputs)
        for scores, boxes, size in zip(head.logits.sigmoid(), head.boxes, sizes, strict=True):
            place, label = (scores > o["score_threshold"]).nonzero(as_tuple=True)
            score, box = scores[place, label], clip_boxes(boxes, size)[place]
            kept = class_nms(box, score, label, o["nms_iou"], o["max_detections"])
            found.append(Detected(box[kept], score[kept], label[kept]))
        return found

    def raw_outputs(self, outputs: dict) -> dict[str, Tensor]:
        """preds."""
        return {"preds": outputs["preds"]}
