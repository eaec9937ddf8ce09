"""Mistakes in losses, matching and assignment, and detaches that are missing or too many."""

from typing import Any

from model_faults import D, G, N, R, jittor
from planting import Fault, attached, operator, option, replaced, together


def _iou_only(f):
    def overlap(a, b, eps=0.0):
        from jittor_impl.boxes import iou_and_union

        return iou_and_union(a, b, eps)[0]

    return overlap


def _per_image(f):
    return lambda self, head, matches, boxes, labels, count, suffix: f(
        self, head, matches, boxes, labels, count / len(boxes), suffix
    )


def _without_groups(f):
    def head_losses(self, head, matches, boxes, labels, count, suffix):
        return f(self, head, matches, boxes, labels, max(1, sum(map(len, labels))), suffix)

    return head_losses


def _smoothed(f):
    def classification(logits, classes, eos_coef):
        every = [f(logits, classes * 0 + label, eos_coef) for label in range(logits.shape[-1])]
        return 0.9 * f(logits, classes, eos_coef) + 0.1 * sum(every) / len(every)

    return classification


def _plain_mean(f):
    """Divided by the number of queries, not by the sum of their weights."""

    def classification(logits, classes, eos_coef):
        boxes = (classes != logits.shape[-1] - 1).sum()
        return f(logits, classes, eos_coef) * float((boxes + eos_coef * (classes.size - boxes)) / classes.size)

    return classification


def _bins_exchanged(f):
    """The weights of the two bins around the target exchanged."""
    return lambda logits, target: f(logits, 2 * jittor().floor(target) + 1 - target)


def _no_mask(f):
    def make(noise, images):
        made = f(noise, images)
        return made and made._replace(mask=jittor().zeros_like(made.mask))

    return make


def _centred(f):
    """Points in the middle of their cells."""

    def points(shapes, strides):
        import numpy as np

        sizes = np.repeat(np.asarray(strides, np.float32), [h * w for h, w in shapes])
        return f(shapes, strides) + sizes[:, None] / 2

    return points


def _all_rows(f):
    return lambda self, index: self.weight[index]


def _first_layer_larger(f):
    """The class loss of the first layer alone, by less than rung 5 sees."""

    def head_losses(self, head, matches, boxes, labels, count, suffix):
        found = f(self, head, matches, boxes, labels, count, suffix)
        return {name: value * (1 + 1e-5) if name == "loss_vfl_aux_0" else value for name, value in found.items()}

    return head_losses


def _plain(boxes: Any) -> Any:
    return boxes


LOSS = [
    Fault(
        "detach missing: content of the picked queries",
        attached("content = pick(features).detach()"),
        (r"decoder\.enc_output",),
        (R,),
        probe="steps",
    ),
    Fault(
        "detach missing: boxes of the picked queries",
        attached("reference.detach(), logits, reference.sigmoid()"),
        ("enc_bbox_head",),
        (R,),
        probe="steps",
    ),
    Fault(
        "detach missing: reference points between the layers",
        attached("previous, given = refined, refined.detach()"),
        (r"dec_bbox_head\.0",),
        (R,),
        probe="steps",
    ),
    Fault(
        "detach missing: IoU in the target of the class loss",
        attached("iou = iou_and_union(corners.detach()"),
        ("(enc|dec)_bbox_head",),
        (R,),
        probe="steps",
    ),
    Fault(
        "detach missing: weight of the negatives in the varifocal loss",
        attached("weight = alpha * logits.detach()"),
        ("(enc|dec)_score_head",),
        (R,),
        probe="steps",
    ),
    Fault(
        "detach missing: IoU in the target of the quality loss",
        together(attached("iou_and_union(found.detach()"), attached("quality = quality.detach()")),
        ("gfl_reg", "reg_convs", "scales"),
        (G,),
        probe="steps",
    ),
    Fault(
        "detach missing: score that weighs the box losses",
        attached("weight = scores.detach()"),
        ("gfl_cls", "cls_convs", "reg_conf"),
        (G,),
        probe="steps",
    ),
    Fault(
        "detach missing: probability that weighs the box losses",
        attached("weight = head.logits.detach()"),
        (r"head\.gfl_cls", r"head\.cls_convs"),
        (N,),
        probe="steps",
    ),
    Fault(
        "detach too many: statistics of the quality predictor",
        replaced("models.gfocalv2.head:top_statistics", lambda f: lambda logits, *rest: f(logits.detach(), *rest)),
        ("gfl_reg", "reg_convs", "scales"),
        (G,),
        probe="steps",
    ),
    Fault("auxiliary part never detached", option("detach_epoch", 10**6), ("backbone", "fpn"), (N,), probe="steps"),
    Fault(
        "auxiliary part detached from the first epoch",
        option("detach_epoch", 0),
        ("backbone", "fpn"),
        (N,),
        probe="steps",
    ),
    Fault(
        "row of the padding trained in the embedding of labels",
        replaced("layers:Embedding.execute", _all_rows),
        ("denoising_class_embed",),
        (R,),
        probe="steps",
    ),
    Fault(
        "GIoU without the enclosing box",
        replaced("models.rtdetr.criterion:generalized_iou", _iou_only),
        ("loss_giou",),
        (R,),
    ),
    Fault(
        "GIoU without the enclosing box (dense)",
        replaced("models.nanodet.criterion:generalized_iou", _iou_only),
        ("loss_bbox",),
        (N,),
    ),
    Fault(
        "GIoU of boxes as centre and size",
        replaced("models.detr.criterion:cxcywh_to_xyxy", lambda f: _plain),
        ("loss_giou",),
        (D,),
    ),
    Fault(
        "loss weight of the box 4 for 5",
        option("loss_weights.bbox", 4.0),
        ("loss_bbox", "though every component agrees"),
        (R, D),
    ),
    Fault("loss weight of GIoU 1 for 2", option("loss_weights.giou", 1.0), ("loss_giou",), (R,)),
    Fault("loss weight of the distributions 0.5 for 0.25", option("loss_weights.dfl", 0.5), ("loss_dfl",), (G, N)),
    Fault("exponent of the quality loss 1 for 2", option("qfl_beta", 1.0), ("loss_cls", "loss_qfl"), (G, N)),
    Fault(
        "focal alpha and gamma exchanged",
        replaced(
            "models.rtdetr.criterion:varifocal_loss",
            lambda f: lambda logits, target, quality, alpha, gamma: f(logits, target, quality, gamma, alpha),
        ),
        ("loss_vfl",),
        (R,),
    ),
    Fault("focal alpha 0.25 for 0.75", option("focal_alpha", 0.25), ("loss_vfl",), (R,)),
    Fault("focal gamma 2 for 1", option("focal_gamma", 2.0), ("loss_vfl",), (R,)),
    Fault("matching cost of the class 20 for 2", option("match_costs.class", 20.0), ("match ",), (R,)),
    Fault("matching cost of the box 1 for 5", option("match_costs.bbox", 1.0), ("match ",), (R, D)),
    Fault("matching by IoU for GIoU", replaced("models.matching:generalized_iou", _iou_only), ("match ",), (R, D)),
    Fault("focal alpha of the matching 0.75 for 0.25", option("match_alpha", 0.75), ("match ",), (R,)),
    Fault(
        "matching by the sigmoid for the softmax",
        operator("models.detr.matcher", "softmax", lambda f: lambda x: x.sigmoid()),
        ("match ",),
        (D,),
    ),
    Fault("5 candidates for 9 in ATSS", option("atss_topk", 5), ("assign ",), (G,)),
    Fault("anchors of ATSS of 4 for 8 strides", option("anchor_scale", 4), ("assign ",), (G,)),
    Fault("10 candidates for 13 in the dynamic assignment", option("assign_topk", 10), ("assign ",), (N,)),
    Fault("weight of the IoU in the dynamic assignment 1 for 3", option("assign_iou_factor", 1.0), ("assign ",), (N,)),
    Fault(
        "weights of the two bins exchanged in the distribution loss",
        replaced("models.gfocalv2.criterion:distribution_focal_loss", _bins_exchanged),
        ("loss_dfl",),
        (G,),
    ),
    Fault(
        "bins of the distribution counted from 1",
        replaced("models.dense:Integral.execute", lambda f: lambda self, logits: f(self, logits) + 1),
        ("loss_bbox",),
        (G, N),
    ),
    Fault(
        "points in the middle of their cells",
        replaced("models.gfocalv2.criterion:level_points", _centred),
        ("loss_bbox", "loss_dfl"),
        (G,),
    ),
    Fault("labels smoothed by 0.1", replaced("models.detr.criterion:classification", _smoothed), ("loss_ce",), (D,)),
    Fault('weight of "no object" 1 for 0.1 (eos_coef)', option("eos_coef", 1.0), ("loss_ce",), (D,)),
    Fault(
        "class loss divided by the number of queries, not by their weights",
        replaced("models.detr.criterion:classification", _plain_mean),
        ("loss_ce",),
        (D,),
    ),
    Fault(
        "losses of the layers before the last left out",
        option("aux_loss", False),
        ("_0: only one framework computes it",),
        (D,),
    ),
    Fault("box noise of denoising 0.4 for 1", option("box_noise_scale", 0.4), ("_dn_",), (R,)),
    Fault("label noise of denoising 0.2 for 0.5", option("label_noise_ratio", 0.2), ("_dn_",), (R,)),
    Fault(
        "denoising queries seen by the others",
        replaced("models.rtdetr.detector:make_denoising", _no_mask),
        (r"first module that differs is decoder\.decoder\.layers\.0\.self_attn",),
        (R,),
    ),
    Fault(
        "losses of denoising not divided by its groups",
        replaced("models.rtdetr.criterion:SetCriterion.head_losses", _without_groups),
        ("_dn_",),
        (R,),
    ),
    Fault(
        "class loss of the first layer 1e-5 too large",
        replaced("models.rtdetr.criterion:SetCriterion.head_losses", _first_layer_larger),
        ("loss/loss_vfl_aux_0, median over the anchors",),
        (R,),
        probe="whole",
    ),
    Fault(
        "losses divided by the boxes of an image, not of the batch",
        replaced("models.rtdetr.criterion:SetCriterion.head_losses", _per_image),
        ("loss_bbox", "loss_giou", "loss_vfl"),
        (R,),
    ),
    Fault(
        "losses divided by the boxes of an image, not of the batch (DETR)",
        replaced("models.detr.criterion:SetCriterion.head_losses", _per_image),
        ("loss_bbox", "loss_giou"),
        (D,),
    ),
]
