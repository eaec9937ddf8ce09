"""NanoDet-Plus as a whole: images to outputs, outputs to losses or detections (nanodet/model/arch/nanodet_plus.py)."""

from typing import Any

import numpy as np

from jittor_impl import ops
from jittor_impl.models.dense import clip_boxes, distances_to_boxes
from jittor_impl.models.interface import Detected, Detector, Losses
from jittor_impl.models.nanodet.aux_head import SimpleConvHead
from jittor_impl.models.nanodet.backbone import ShuffleNetV2
from jittor_impl.models.nanodet.criterion import Criterion, Prediction
from jittor_impl.models.nanodet.head import NanoDetPlusHead
from jittor_impl.models.nanodet.neck import GhostPAN
from jittor_impl.nms import class_nms
from jittor_impl.runtime import jt
from parity.data.assign import level_points
from parity.data.targets import Target

Var = jt.Var


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

    def execute(self, images: Var, sizes: Var | None = None, targets: list[Target] | None = None, draws=None) -> dict:
        """images [B, 3, H, W], normalised. `sizes`, targets and draws are not used: nothing is padded or random.

        -> preds [B, N, C + 4 * (reg_max + 1)], points [N, 2] and strides [N] of the N places in pixels; in training
        also aux_preds like preds. From epoch `detach_epoch` on the auxiliary part learns without changing the rest.
        """
        features = self.backbone(images)
        maps = self.fpn(features)
        outputs = {"preds": self.head(maps)} | self.places(images)
        if self.is_training():
            detach = self.epoch >= self.options["detach_epoch"]
            own = self.aux_fpn([x.detach() for x in features] if detach else features)
            pairs = [ops.concat_channels(x.detach() if detach else x, y) for x, y in zip(maps, own, strict=True)]
            outputs["aux_preds"] = self.aux_head(pairs)
        return outputs

    def places(self, images: Var) -> dict[str, Var]:
        """points [N, 2] and strides [N] of all levels for these images, in the order of the predictions."""
        strides, (height, width) = self.options["strides"], images.shape[2:]
        shapes = [(-(-height // stride), -(-width // stride)) for stride in strides]
        each = np.repeat(np.array(strides, np.float32), [h * w for h, w in shapes])
        arrays = {"points": level_points(shapes, strides), "strides": each}
        return {name: jt.array(array).stop_grad() for name, array in arrays.items()}

    def decode(self, preds: Var, outputs: dict) -> Prediction:
        """Split a head's result; boxes are those of the expected distances, in pixels, not clipped."""
        classes = self.options["num_classes"]
        logits, distributions = preds[..., :classes], preds[..., classes:]
        distances = self.head.distribution_project(distributions) * outputs["strides"].unsqueeze(1)
        return Prediction(logits, distributions, distances_to_boxes(outputs["points"], distances))

    def losses(self, outputs: dict, targets: list[Target]) -> Losses:
        """The total is the plain sum, because the components are weighted."""
        heads = {"": self.decode(outputs["preds"], outputs), "aux_": self.decode(outputs["aux_preds"], outputs)}
        named, assigned = self.criterion(heads, heads["aux_"], outputs["points"], outputs["strides"], targets)
        arrays = {f"assign/img{i}": image for i, image in enumerate(assigned)}
        return Losses(named, sum(named.values()), arrays)

    def detect(self, outputs: dict, sizes: Var) -> list[Detected]:
        """Every pair of place and class above `score_threshold`, suppressed class by class."""
        o, found = self.options, []
        head = self.decode(outputs["preds"], outputs)
        scores = head.logits.sigmoid()
        for i, image in enumerate(scores.numpy()):
            place, label = np.nonzero(image > np.float32(o["score_threshold"]))
            score = image[place, label]
            boxes = clip_boxes(head.boxes[i], sizes[i])
            box = boxes[jt.array(place.astype(np.int32))]
            kept = class_nms(box, jt.array(score), jt.array(label.astype(np.int32)), o["nms_iou"], o["max_detections"])
            found.append(Detected(box.numpy()[kept], score[kept], label[kept]))
        return found

    def raw_outputs(self, outputs: dict) -> dict[str, Var]:
        """preds."""
        return {"preds": outputs["preds"]}
