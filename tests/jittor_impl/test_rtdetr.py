"""RT-DETR in Jittor: names, shapes, freezing, denoising, losses against formulas, and images of any size."""

import numpy as np
import pytest

from jittor_impl import boxes as box_math
from jittor_impl.models import build
from jittor_impl.models.rtdetr.backbone import PResNet
from jittor_impl.models.rtdetr.criterion import SetCriterion, focal_loss, varifocal_loss
from jittor_impl.models.rtdetr.decoder import make_anchors
from jittor_impl.models.rtdetr.deformable import MSDeformableAttention, sample_levels
from jittor_impl.models.rtdetr.denoising import make_denoising
from jittor_impl.models.rtdetr.encoder import position_table
from jittor_impl.models.rtdetr.matcher import HungarianMatcher
from jittor_impl.models.rtdetr.postprocess import detections
from jittor_impl.runtime import jt
from jittor_impl.state import describe
from parity.data.denoising import noised
from parity.data.draws import Draws
from parity.errors import UserError
from parity.files import digest

# SHA-256 of the [name, shape, dtype] lists of the official code's state dicts.
OFFICIAL_R18VD = "79cb45feeabea42e1c90562fbe600c09b8bad4f33e06c626b126236ea3af0d11"
OFFICIAL_BACKBONES = {
    18: "91164994814de5cee97a5bbef87d08731465375d90072a28ea5e54c9dd0d6afd",
    34: "57a6022adca6843019797f39592d69875dd12bdfb47abbb09bd92a2653a89eca",
    50: "9337273a0f1c5709aa84366b2f6863e2748efeedc6df9d0f8864e6309fd5fc60",
    101: "3c9fa55d9a50807c6eef4d8247faf5927b6465fee4235b2c60167f14f2c32397",
}
MATCHER = HungarianMatcher({"class": 2.0, "bbox": 5.0, "giou": 2.0}, alpha=0.25, gamma=2.0)


class FixedDraws:
    """Every uniform draw is `u`, every integer `low + i`."""

    def __init__(self, u, i):
        self.u, self.i = u, i

    def uniform(self, shape):
        return np.full(shape, self.u, np.float32)

    def integers(self, low, high, shape):
        return np.full(shape, low + self.i, np.int64)


def listing(model):
    return [[t.name, list(t.shape), t.dtype] for t in describe(model)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bce(x, t):
    return -(t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x)))


def var(array):
    return jt.array(np.asarray(array, np.float32))


# ---- names and freezing
def test_state_of_r18vd_is_the_official_one(options):
    model = build("rtdetr", options("r18vd", 80))
    assert digest(listing(model)) == OFFICIAL_R18VD
    assert sum(np.prod(t.shape, dtype=int) for t in describe(model) if t.kind == "parameter") == 20184464


@pytest.mark.parametrize("depth", OFFICIAL_BACKBONES)
def test_backbones_have_the_official_names(depth):
    assert digest(listing(PResNet(depth, 64, [1, 2, 3], -1, False))) == OFFICIAL_BACKBONES[depth]


@pytest.mark.parametrize(("variant", "norms"), [("r50vd", 55), ("r101vd", 106)])
def test_large_variants_freeze_the_stem_and_every_backbone_norm(options, variant, norms):
    infos = describe(build("rtdetr", options(variant, 80)))
    assert [t.name for t in infos if t.kind == "frozen"] == [f"backbone.conv1.conv1_{i}.conv.weight" for i in (1, 2, 3)]
    names = [t.name for t in infos]
    assert sum(n.startswith("backbone.") and n.endswith("running_var") for n in names) == norms
    assert not any(n.startswith("backbone.") and n.endswith("num_batches_tracked") for n in names)
    assert "encoder.input_proj.0.1.num_batches_tracked" in names
    assert not any(".conv3." in n for n in names if n.startswith("encoder."))


def test_unknown_model_depth_loss_and_missing_option_are_named(options):
    with pytest.raises(UserError, match="yolo"):
        build("yolo", {})
    with pytest.raises(UserError, match="depth: 20"):
        build("rtdetr", options(depth=20))
    with pytest.raises(UserError, match="class_loss: l2"):
        build("rtdetr", options(class_loss="l2"))
    with pytest.raises(UserError, match="hidden_dim"):
        build("rtdetr", {k: v for k, v in options().items() if k != "hidden_dim"})


# ---- the whole model
@pytest.mark.parametrize("size", [(64, 64), (75, 109)])
def test_any_image_size_gives_all_queries(framework, batch, size):
    fw = framework()
    outputs = fw.forward(fw.to_device(batch((0, 0), size)))
    raw = fw.raw_outputs(outputs)
    assert raw["pred_logits"].shape == (2, 20, 3)
    assert raw["pred_boxes"].shape == (2, 20, 4)
    assert all(np.isfinite(x).all() for x in raw.values())
    maps = fw.model.encoder(fw.model.backbone(jt.array(batch((0,), size).images)))
    assert [tuple(m.shape[2:]) for m in maps] == [(-(-size[0] // s), -(-size[1] // s)) for s in (8, 16, 32)]


def test_too_small_an_image_says_so(framework, batch):
    fw = framework()
    with pytest.raises(UserError, match="num_queries: 20 queries cannot be picked from 6 positions"):
        fw.forward(fw.to_device(batch((0,), (16, 16))))


def test_the_frozen_norms_of_a_large_backbone_stay_as_they_are(framework, batch):
    fw = framework(freeze_norm=True, freeze_at=0)
    before = fw.state()
    fw.forward_backward(batch(), Draws(0), 0)
    after = fw.state()
    assert all(np.array_equal(v, after[n]) for n, v in before.items() if n.startswith("backbone."))
    assert int(after["encoder.input_proj.0.1.num_batches_tracked"]) == 1
    assert not any(n.startswith("backbone.conv1") for n in fw.gradients())
    assert "backbone.res_layers.0.blocks.0.short.conv.weight" in fw.gradients()


def test_an_image_without_boxes_beside_one_with_boxes(framework, batch):
    result = framework().forward_backward(batch((0, 2)), Draws(0), 0, extras=True)
    assert np.isfinite(result.total)
    assert result.extras["match/aux_2/img0/src"].shape == (0,)
    assert result.extras["match/aux_2/img1/src"].shape == (2,)
    heads = ["", "_aux_0", "_aux_1", "_aux_2", "_dn_0", "_dn_1", "_dn_2"]
    assert list(result.losses) == [f"loss_{kind}{h}" for h in heads for kind in ("vfl", "bbox", "giou")]


def test_matching_queries_do_not_see_the_denoising_ones(framework, batch):
    outputs = []
    fw = framework()
    state = {n: v + 0.01 if "bbox_head" in n else v for n, v in fw.state().items()}  # box heads start at zero
    for number in (12, 0):
        fw = framework(num_denoising=number)
        fw.load_state(state)
        outputs.append(fw.forward_backward(batch(), Draws(0), 0, extras=True).extras)
    assert np.allclose(*(o["output/pred_logits"] for o in outputs), atol=1e-5)
    assert np.allclose(*(o["output/pred_boxes"] for o in outputs), atol=1e-6)


def test_dropout_follows_the_draws(framework, batch):
    totals = []
    state = framework().state()
    for key in (1, 1, 2):
        fw = framework(encoder_dropout=0.3, decoder_dropout=0.3, num_denoising=0)
        fw.load_state(state)
        totals.append(fw.forward_backward(batch(), Draws(key), 0).total)
    assert totals[0] == totals[1]
    assert totals[0] != totals[2]


# ---- denoising
def test_denoising_queries_are_the_noised_boxes_as_logits():
    boxes, labels = [np.full((1, 4), 0.4, np.float32)], [np.array([2])]
    noise = noised(boxes, labels, 3, 5, 2, 0.0, 1.0, FixedDraws(0.1, 1))
    queries = make_denoising(noise, jt.zeros(1))
    assert np.allclose(sigmoid(queries.boxes.numpy()), np.clip(noise.boxes, 1e-5, 1 - 1e-5), atol=1e-6)
    assert queries.labels.dtype == "int32"
    assert queries.labels.numpy().tolist() == noise.labels.tolist()
    assert queries.mask.numpy().tolist() == noise.mask.tolist()
    assert make_denoising(None, jt.zeros(1)) is None


# ---- boxes, matching and losses
def corners(b):
    return np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)


def giou(a, b):
    """GIoU and IoU of two xyxy boxes, one coordinate after the other."""
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return w * h / union - (hull - union) / hull, w * h / union


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0.3, 0.7, (n, 2)), rng.uniform(0.1, 0.5, (n, 2))], 1).astype(np.float32)


def test_box_formats_are_inverse_and_giou_is_the_formula():
    a, b = random_boxes(6, 0), random_boxes(6, 1)
    xyxy = box_math.cxcywh_to_xyxy(var(a))
    assert np.allclose(box_math.xyxy_to_cxcywh(xyxy).numpy(), a, atol=1e-6)
    got = box_math.generalized_iou(xyxy.unsqueeze(1), var(corners(b)).unsqueeze(0)).numpy()
    assert np.allclose(got, [[giou(x, y)[0] for y in corners(b)] for x in corners(a)], atol=1e-5)


def test_gradients_where_boxes_touch_are_pytorchs():
    """Ties share the gradient, touching boxes overlap by a length with gradient, |0| has none (values of torch 2)."""
    a = jt.array([1.0, 2.0, 3.0])
    b = jt.array([1.0, 3.0, 2.0])
    assert jt.grad(box_math.ops.maximum(a, b).sum(), [a])[0].numpy().tolist() == [0.5, 0.0, 1.0]
    assert jt.grad(box_math.ops.minimum(a, b).sum(), [a])[0].numpy().tolist() == [0.5, 1.0, 0.0]
    x = jt.array([-1.0, 0.0, 1.0])
    assert jt.grad(box_math.ops.clamp(x, 0.0, 1.0).sum(), [x])[0].numpy().tolist() == [0.0, 1.0, 1.0]
    assert jt.grad(box_math.ops.absolute(x).sum(), [x])[0].numpy().tolist() == [-1.0, 0.0, 1.0]


def test_inverse_sigmoid_inverts_and_stays_finite_at_the_ends():
    x = np.array([0.2, 0.5, 0.9])
    assert np.allclose(sigmoid(box_math.inverse_sigmoid(var(x)).numpy()), x, atol=1e-6)
    ends = box_math.inverse_sigmoid(var([-1.0, 0.0, 1.0, 2.0])).numpy()
    assert np.allclose(ends, np.array([-1, -1, 1, 1]) * np.log(1e5), rtol=1e-5)


def test_focal_loss():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 5, 3)), (rng.random((2, 5, 3)) < 0.3).astype(float)
    p = sigmoid(x)
    want = np.where(t == 1, 0.75 * (1 - p) ** 2 * -np.log(p), 0.25 * p**2 * -np.log(1 - p))
    assert np.allclose(focal_loss(var(x), var(t), alpha=0.75, gamma=2.0).numpy(), want, atol=1e-5)


def test_varifocal_loss_and_its_gradient_through_the_cross_entropy_only():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 5, 3)), (rng.random((2, 5, 3)) < 0.3).astype(float)
    q = t * rng.random(t.shape)
    weight = 0.75 * sigmoid(x) ** 2 * (1 - t) + q
    logits = var(x)
    got = varifocal_loss(logits, var(t), var(q), alpha=0.75, gamma=2.0)
    assert np.allclose(got.numpy(), weight * bce(x, q), atol=1e-5)
    assert np.allclose(jt.grad(got.sum(), logits).numpy(), weight * (sigmoid(x) - q), atol=1e-5)


def test_matching_costs_and_assignment_of_two_images():
    rng = np.random.default_rng(0)
    logits, found = rng.normal(size=(2, 5, 4)), np.stack([random_boxes(5, 0), random_boxes(5, 1)])
    wanted, labels = [random_boxes(3, 2), random_boxes(1, 3)], [np.array([2, 0, 2]), np.array([1])]
    p = sigmoid(logits)[:, :, np.concatenate(labels)]
    cost = 2 * (0.25 * (1 - p) ** 2 * -np.log(p + 1e-8) - 0.75 * p**2 * -np.log(1 - p + 1e-8))
    every = np.concatenate(wanted)
    cost += 5 * np.abs(found[:, :, None] - every).sum(-1)
    cost -= 2 * np.array([[[giou(x, y)[0] for y in corners(every)] for x in corners(f)] for f in found])
    got = MATCHER.cost(var(logits), var(found), np.concatenate(labels), every).numpy()
    assert np.allclose(got, cost, atol=1e-4)
    head = {"logits": var(logits), "boxes": var(found)}
    [[(src, tgt), (other, one)]] = MATCHER.match([head], labels, wanted)
    assert src.tolist() == sorted(src.tolist()) and sorted(tgt.tolist()) == [0, 1, 2]
    assert one.tolist() == [0] and other[0] == cost[1, :, 3].argmin()


def test_matching_says_that_training_diverged():
    head = {"logits": var(np.full((1, 4, 3), np.nan)), "boxes": var(np.full((1, 4, 4), 0.5))}
    with pytest.raises(UserError, match="diverged"):
        MATCHER.match([head], [np.array([1])], [np.full((1, 4), 0.5, np.float32)])


@pytest.mark.parametrize("kind", ["vfl", "focal", "bce"])
def test_criterion_sums_weighted_losses_over_the_number_of_boxes(kind):
    rng = np.random.default_rng(0)
    criterion = SetCriterion(MATCHER, kind, {"class": 1.5, "bbox": 5.0, "giou": 2.0}, alpha=0.75, gamma=2.0)
    logits, found = rng.normal(size=(2, 4, 3)), np.stack([random_boxes(4, 0), random_boxes(4, 1)])
    wanted, labels = [random_boxes(2, 2), random_boxes(1, 3)], [np.array([0, 2]), np.array([1])]
    head = {"logits": var(logits), "boxes": var(found)}
    named, matches = criterion({"main": head, "aux": [head], "dn": [], "denoising": None}, wanted, labels)
    target, quality, l1, overlap = np.zeros((2, 4, 3)), np.zeros((2, 4, 3)), 0.0, 0.0
    for i, (src, tgt) in enumerate(matches["main"]):
        for s, t in zip(src.tolist(), tgt.tolist(), strict=True):
            g, iou = giou(corners(found[i])[s], corners(wanted[i])[t])
            target[i, s, labels[i][t]], quality[i, s, labels[i][t]] = 1, iou
            l1, overlap = l1 + np.abs(found[i][s] - wanted[i][t]).sum(), overlap + 1 - g
    p = sigmoid(logits)
    want = {
        "vfl": (0.75 * p**2 * (1 - target) + quality) * bce(logits, quality),
        "focal": np.where(target == 1, 0.75 * (1 - p) ** 2, 0.25 * p**2) * bce(logits, target),
        "bce": bce(logits, target),
    }[kind]
    assert list(named) == [f"loss_{n}{s}" for s in ("", "_aux_0") for n in (kind, "bbox", "giou")]
    assert named[f"loss_{kind}"].item() == pytest.approx(1.5 * want.sum() / 3, rel=1e-4)
    assert named["loss_bbox"].item() == pytest.approx(5 * l1 / 3, rel=1e-4)
    assert named["loss_giou"].item() == pytest.approx(2 * overlap / 3, rel=1e-4)


def test_detections_are_in_pixels_of_the_given_size():
    logits = np.full((1, 2, 3), -9.0)
    logits[0, 1, 2] = 4.0
    boxes = var([[[0.5, 0.5, 1.0, 1.0], [0.5, 0.25, 0.2, 0.1]]])
    [found] = detections(var(logits), boxes, jt.array(np.array([[200, 100]], np.int32)), 300)
    assert int(found.labels[0]) == 2
    assert np.allclose(found.boxes[0], [40.0, 40.0, 60.0, 60.0], atol=1e-4)
    assert len(found.scores) == 6


# ---- parts of the transformer
def test_deformable_sampling_against_loops():
    rng = np.random.default_rng(0)
    shapes, heads, channels, points, queries = [(3, 4), (2, 2)], 2, 3, 2, 5
    value = rng.normal(size=(1, 16, heads, channels))
    locations = rng.uniform(-0.1, 1.1, (1, queries, heads, 2, points, 2))
    weights = rng.random((1, queries, heads, 2, points))
    want = np.zeros((queries, heads, channels))
    for q, m, level, p in np.ndindex(queries, heads, 2, points):
        (h, w), start = shapes[level], (0, 12)[level]
        x, y = locations[0, q, m, level, p] * [w, h] - 0.5
        for i in (int(np.floor(y)), int(np.floor(y)) + 1):
            for j in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= i < h and 0 <= j < w:
                    part = (1 - abs(y - i)) * (1 - abs(x - j)) * weights[0, q, m, level, p]
                    want[q, m] += part * value[0, start + i * w + j, m]
    got = sample_levels(var(value), shapes, var(locations), var(weights)).numpy()
    assert np.allclose(got[0].reshape(queries, heads, channels), want, atol=1e-5)


def test_deformable_attention_starts_with_one_direction_per_head():
    offsets = MSDeformableAttention(16, 4, 3, 2).sampling_offsets.bias.numpy().reshape(4, 3, 2, 2)
    assert np.allclose(offsets[:, 0, 0], [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-6)
    assert np.allclose(offsets[:, 2, 1], 2 * offsets[:, 2, 0])


def test_position_table_is_transposed_as_officially():
    table = position_table(3, 2, 8, 100.0).numpy()
    assert table.shape == (1, 6, 8)
    for k in range(6):
        x, y = divmod(k, 2)
        angles = np.array([x, x / 10]), np.array([y, y / 10])
        assert np.allclose(table[0, k], np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)]), atol=1e-6)


def test_anchors_near_the_border_are_unusable():
    anchors, valid = (x.numpy() for x in make_anchors(((100, 100), (5, 5))))
    assert anchors.shape == (1, 10025, 4)
    usable = valid[0, :10000, 0].reshape(100, 100)
    assert not usable[0].any() and not usable[:, -1].any() and usable[1:-1, 1:-1].all()
    assert (sigmoid(anchors[0, 0]) == 1).all()
    assert np.allclose(sigmoid(anchors[0, 10000]), 0.1, atol=1e-6)
