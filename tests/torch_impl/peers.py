"""Implementations that are not ours, in a form that a timing can use: a batch of ours in, their loss or outputs out.

None of them is part of this project. A name of the left column and the sources of the right one on PYTHONPATH:

    transformers   transformers==5.24.0                             RT-DETR and DETR
    official       lyuwenyu/RT-DETR, folder rtdetr_pytorch          RT-DETR; needs torchvision
                   facebookresearch/detr, or detr==0.1.4 of PyPI    DETR; needs torchvision
                   implus/GFocalV2                                  GFocalV2; needs mmcv
                   RangiLyu/nanodet                                 NanoDet-Plus

A peer is the official variant with the number of classes of the training. Nothing is fetched.
"""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
import yaml
from torch import Tensor, nn

from parity.config.run import RunConfig
from parity.data.targets import batch_targets, normalised
from parity.framework import Batch


class Peer(Protocol):
    """A model of another implementation. `same_names`: its parameters have our names, which it can take."""

    module: nn.Module
    same_names: bool

    def loss(self, batch: Batch) -> Tensor: ...

    def outputs(self, batch: Batch) -> Any: ...


def _normalised(batch: Batch, labels: str) -> list[dict[str, Tensor]]:
    """Targets as DETR and RT-DETR have them: boxes as cxcywh in 0..1 of the valid image."""
    pairs = zip(*normalised(batch_targets(batch)), strict=True)
    return [{"boxes": torch.from_numpy(boxes), labels: torch.from_numpy(classes)} for boxes, classes in pairs]


def _padding(batch: Batch) -> Tensor:
    """[B, H, W], true where an image is padded."""
    images = torch.from_numpy(batch.images)
    mask = torch.ones(len(images), *images.shape[2:], dtype=torch.bool)
    for image, (height, width) in zip(mask, batch.sizes, strict=True):
        image[:height, :width] = False
    return mask


class Transformers:
    """RT-DETR r18vd or DETR r50 of `transformers`; the same layers are frozen as in the official codes."""

    same_names = False

    def __init__(self, run: RunConfig):
        import transformers

        self.masked = run.model == "detr"
        names = {number: str(number) for number in range(run.options["num_classes"])}
        labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
        if run.model == "rtdetr":
            backbone = transformers.RTDetrResNetConfig(
                hidden_sizes=[64, 128, 256, 512],
                depths=[2, 2, 2, 2],
                layer_type="basic",
                out_features=["stage2", "stage3", "stage4"],
            )
            config = transformers.RTDetrConfig(
                backbone_config=backbone,
                encoder_in_channels=[128, 256, 512],
                hidden_expansion=0.5,
                decoder_layers=3,
                freeze_backbone_batch_norms=False,
                **labels,
            )
            self.module = transformers.RTDetrForObjectDetection(config)
            return
        backbone = transformers.ResNetConfig(out_features=["stage4"])
        config = transformers.DetrConfig(
            use_timm_backbone=False,
            backbone_config=backbone,
            auxiliary_loss=True,
            dropout=run.options["dropout"],
            **labels,
        )
        self.module = transformers.DetrForObjectDetection(config)
        for name, parameter in self.module.named_parameters():
            if any(f"stages.{stage}." in name for stage in (1, 2, 3)):
                parameter.requires_grad_(True)

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        inputs = {"pixel_values": torch.from_numpy(batch.images)}
        return inputs | ({"pixel_mask": (~_padding(batch)).long()} if self.masked else {})

    def loss(self, batch: Batch) -> Tensor:
        return self.module(**self._inputs(batch), labels=_normalised(batch, "class_labels")).loss

    def outputs(self, batch: Batch) -> Any:
        return self.module(**self._inputs(batch))


class OfficialRTDETR:
    """configs/rtdetr/rtdetr_r18vd_6x_coco.yml, without pretrained weights and without resizing of batches."""

    same_names = True

    def __init__(self, run: RunConfig):
        from src.nn.backbone.presnet import PResNet
        from src.zoo.rtdetr.hybrid_encoder import HybridEncoder
        from src.zoo.rtdetr.matcher import HungarianMatcher
        from src.zoo.rtdetr.rtdetr import RTDETR
        from src.zoo.rtdetr.rtdetr_criterion import SetCriterion
        from src.zoo.rtdetr.rtdetr_decoder import RTDETRTransformer

        classes = run.options["num_classes"]
        backbone = PResNet(
            depth=18,
            variant="d",
            num_stages=4,
            return_idx=[1, 2, 3],
            freeze_at=-1,
            freeze_norm=False,
            pretrained=False,
        )
        size = [run.preprocess.size] * 2  # of inference; its anchors and positions are made once
        encoder = HybridEncoder(
            in_channels=[128, 256, 512],
            hidden_dim=256,
            use_encoder_idx=[2],
            dim_feedforward=1024,
            expansion=0.5,
            eval_spatial_size=size,
        )
        decoder = RTDETRTransformer(
            num_classes=classes,
            hidden_dim=256,
            feat_channels=[256, 256, 256],
            num_levels=3,
            num_decoder_layers=3,
            num_denoising=100,
            eval_spatial_size=size,
        )
        self.module = RTDETR(backbone, encoder, decoder, multi_scale=None)
        costs = {"cost_class": 2, "cost_bbox": 5, "cost_giou": 2}
        self.criterion = SetCriterion(
            HungarianMatcher(weight_dict=costs, use_focal_loss=True, alpha=0.25, gamma=2.0),
            weight_dict={"loss_vfl": 1, "loss_bbox": 5, "loss_giou": 2},
            losses=["vfl", "boxes"],
            alpha=0.75,
            gamma=2.0,
            num_classes=classes,
        )

    def loss(self, batch: Batch) -> Tensor:
        targets = _normalised(batch, "labels")
        return sum(self.criterion(self.module(torch.from_numpy(batch.images), targets), targets).values())

    def outputs(self, batch: Batch) -> Any:
        return self.module(torch.from_numpy(batch.images))


class OfficialDETR:
    """The default arguments of main.py."""

    same_names = True

    def __init__(self, run: RunConfig):
        import models.backbone
        from models import build_model
        from models.detr import SetCriterion
        from util.misc import NestedTensor

        arguments = {
            "backbone": "resnet50",
            "dilation": False,
            "position_embedding": "sine",
            "lr_backbone": 1e-5,
            "enc_layers": 6,
            "dec_layers": 6,
            "dim_feedforward": 2048,
            "hidden_dim": 256,
            "dropout": run.options["dropout"],
            "nheads": 8,
            "num_queries": 100,
            "pre_norm": False,
            "masks": False,
            "aux_loss": True,
            "set_cost_class": 1,
            "set_cost_bbox": 5,
            "set_cost_giou": 2,
            "bbox_loss_coef": 5,
            "giou_loss_coef": 2,
            "eos_coef": 0.1,
            "frozen_weights": None,
            "dataset_file": "coco",
            "device": "cpu",
        }
        models.backbone.is_main_process = lambda: False  # the first process fetches pretrained weights
        self.module, criterion, _ = build_model(SimpleNamespace(**arguments))
        classes = run.options["num_classes"]  # the official code knows COCO's 91 alone
        self.module.class_embed = nn.Linear(arguments["hidden_dim"], classes + 1)
        self.weights = criterion.weight_dict
        self.criterion = SetCriterion(classes, criterion.matcher, self.weights, criterion.eos_coef, criterion.losses)
        self.samples = lambda batch: NestedTensor(torch.from_numpy(batch.images), _padding(batch))

    def loss(self, batch: Batch) -> Tensor:
        losses = self.criterion(self.module(self.samples(batch)), _normalised(batch, "labels"))
        return sum(losses[name] * weight for name, weight in self.weights.items() if name in losses)

    def outputs(self, batch: Batch) -> Any:
        return self.module(self.samples(batch))


class OfficialGFocalV2:
    """configs/gfocal/gfocal_r50_fpn_1x.py, without pretrained weights."""

    same_names = True

    def __init__(self, run: RunConfig):
        from mmcv import ConfigDict
        from mmdet.models import build_detector

        if not torch.cuda.is_available():
            Tensor.cuda = lambda self: self  # the head calls it for its counters
        model = {
            "type": "GFL",
            "pretrained": None,
            "backbone": {
                "type": "ResNet",
                "depth": 50,
                "num_stages": 4,
                "out_indices": (0, 1, 2, 3),
                "frozen_stages": 1,
                "norm_cfg": {"type": "BN", "requires_grad": True},
                "norm_eval": True,
                "style": "pytorch",
            },
            "neck": {
                "type": "FPN",
                "in_channels": [256, 512, 1024, 2048],
                "out_channels": 256,
                "start_level": 1,
                "add_extra_convs": "on_output",
                "num_outs": 5,
            },
            "bbox_head": {
                "type": "GFocalHead",
                "num_classes": run.options["num_classes"],
                "in_channels": 256,
                "stacked_convs": 4,
                "feat_channels": 256,
                "anchor_generator": {
                    "type": "AnchorGenerator",
                    "ratios": [1.0],
                    "octave_base_scale": 8,
                    "scales_per_octave": 1,
                    "strides": [8, 16, 32, 64, 128],
                },
                "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": False, "beta": 2.0, "loss_weight": 1.0},
                "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
                "reg_max": 16,
                "reg_topk": 4,
                "reg_channels": 64,
                "add_mean": True,
                "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
            },
        }
        assigner = {"type": "ATSSAssigner", "topk": 9}
        train = {"assigner": assigner, "allowed_border": -1, "pos_weight": -1, "debug": False}
        self.module = build_detector(ConfigDict(model), train_cfg=ConfigDict(train), test_cfg=ConfigDict())

    def loss(self, batch: Batch) -> Tensor:
        metas = []
        for h, w in batch.sizes.tolist():  # each image is padded to a multiple of 32, and then to the batch's size
            padded = (math.ceil(h / 32) * 32, math.ceil(w / 32) * 32, 3)
            metas.append({"img_shape": (h, w, 3), "pad_shape": padded})
        targets = [(torch.from_numpy(boxes), torch.from_numpy(labels)) for boxes, labels in batch.targets()]
        boxes, labels = (list(part) for part in zip(*targets, strict=True))
        losses = self.module.forward_train(torch.from_numpy(batch.images), metas, boxes, labels)
        return sum(sum(levels) for levels in losses.values())

    def outputs(self, batch: Batch) -> Any:
        return self.module.bbox_head(self.module.extract_feat(torch.from_numpy(batch.images)))


class Settings(dict):
    """What the official code reads as attributes of its configuration, at every depth."""

    def __init__(self, values: dict[str, Any]):
        super().__init__({key: Settings(v) if isinstance(v, dict) else v for key, v in values.items()})

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]


class OfficialNanoDetPlus:
    """config/nanodet-plus-m_320.yml, without pretrained weights."""

    same_names = True

    def __init__(self, run: RunConfig):
        import nanodet.model.arch

        root = Path(nanodet.model.arch.__file__).parents[3]
        arch = yaml.safe_load((root / "config" / "nanodet-plus-m_320.yml").read_text())["model"]["arch"]
        arch["backbone"]["pretrain"] = False
        for head in ("head", "aux_head"):
            arch[head]["num_classes"] = run.options["num_classes"]
        self.module = nanodet.model.arch.build_model(Settings({"arch": arch}))

    def loss(self, batch: Batch) -> Tensor:
        boxes, labels = (list(part) for part in zip(*batch.targets(), strict=True))
        images = torch.from_numpy(batch.images)
        targets = {"img": images, "gt_bboxes": boxes, "gt_labels": labels, "gt_bboxes_ignore": None}
        return self.module.forward_train(targets)[1]

    def outputs(self, batch: Batch) -> Any:
        return self.module(torch.from_numpy(batch.images))


OFFICIAL = {
    "rtdetr": OfficialRTDETR,
    "detr": OfficialDETR,
    "gfocalv2": OfficialGFocalV2,
    "nanodet": OfficialNanoDetPlus,
}


def make_peer(source: str, run: RunConfig) -> Peer:
    """The model of a source; a missing package ends the script with its name."""
    try:
        return Transformers(run) if source == "transformers" else OFFICIAL[run.model](run)
    except ImportError as error:
        sys.exit(f"{run.model} of {source}: {error}; what has to be on PYTHONPATH: the first lines of {__file__}")
