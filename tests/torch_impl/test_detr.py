"""DETR in PyTorch: names, shapes, freezing, masks, losses against formulas, and images of any size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from parity.config.models import model_config
from parity.data.draws import Draws
from parity.data.targets import Target
from parity.errors import UserError
from torch_impl.layers import MultiheadAttention
from torch_impl.models import build
from torch_impl.models.detr.backbone import padding_mask
from torch_impl.models.detr.criterion import SetCriterion, classification
from torch_impl.models.detr.matcher import HungarianMatcher
from torch_impl.models.detr.position import PositionEmbeddingSine
from torch_impl.models.detr.postprocess import detections
from torch_impl.models.detr.transformer import Transformer, TransformerDecoderLayer

KEYS = json.loads((Path(__file__).parents[1] / "golden/detr_r50/keys.json").read_text())["keys"]
SMALL = {"base_width": 8, "hidden_dim": 32, "heads": 4, "encoder_layers": 1, "ffn": 64, "num_queries": 6}
COSTS = {"class": 1.0, "bbox": 5.0, "giou": 2.0}


def options(variant=None, num_classes=3, **overrides):
    """Hyper-parameters of a variant; without one, of a very small model."""
    if variant is None:
        variant, overrides = "tiny", SMALL | overrides
    return model_config("detr", variant, num_classes, overrides).options


def targets(counts, size=(64, 64)):
    h, w = size
    box = np.array([[0.1, 0.2, 0.5, 0.7]], np.float32) * np.array([w, h, w, h], np.float32)
    return [Target(np.tile(box, (n, 1)), np.arange(n) % 3, size) for n in counts]


def train(model, images, truth, sizes=None, draws=None):
    """Losses of one training forward, after their backward."""
    losses = model.train().losses(model(images, sizes, truth, draws), truth)
    losses.total.backward()
    return losses


# ---- names and freezing
def test_state_dict_of_r50_is_the_official_one():
    with torch.device("meta"):
        model = build("detr", options("r50", 91))
    parameters = dict(model.named_parameters())
    found = [[name, list(t.shape), "float32", name not in parameters] for name, t in model.state_dict().items()]
    assert found == KEYS
    assert sum(p.numel() for p in parameters.values()) == 41524768
    frozen = [name for name, p in parameters.items() if not p.requires_grad]
    assert frozen == [n for n in parameters if n.startswith(("backbone.0.body.conv1.", "backbone.0.body.layer1."))]
    assert len(frozen) == 11


@pytest.mark.parametrize(("variant", "blocks"), [("r101", 23), ("dc5_r50", 6), ("dc5_r101", 23)])
def test_other_variants_differ_in_the_third_stage_only(variant, blocks):
    with torch.device("meta"):
        shapes = {name: list(t.shape) for name, t in build("detr", options(variant, 91)).state_dict().items()}
    official = {name: shape for name, shape, _, _ in KEYS}
    assert {n: s for n, s in official.items() if shapes.get(n) != s} == {}
    more = set(shapes) - set(official)
    assert all(n.startswith("backbone.0.body.layer3.") for n in more)
    assert {int(n.split(".")[4]) for n in more} == set(range(6, blocks))


@pytest.mark.parametrize(("dilation", "size"), [(False, (3, 4)), (True, (5, 7))])
def test_dc5_keeps_the_size_of_the_third_stage(dilation, size):
    body = build("detr", options(depth=50, dilation=dilation)).backbone[0].body
    maps = []
    for stage in (body.layer3, body.layer4):
        stage.register_forward_hook(lambda module, inputs, output: maps.append(tuple(output.shape[2:])))
    body(torch.rand(1, 3, 75, 109))
    assert maps == [(5, 7), size]
    first, *others = [block.conv2 for block in body.layer4]
    assert (first.stride, first.dilation) == (((1, 1) if dilation else (2, 2)), (1, 1))
    assert {conv.dilation for conv in others} == {(2, 2) if dilation else (1, 1)}


def test_frozen_parts_stay_as_they_are_and_get_no_gradient():
    model = build("detr", options(frozen_stages=1, freeze_norm=True))
    before = {n: t.clone() for n, t in model.state_dict().items() if n.startswith("backbone.")}
    train(model, torch.rand(2, 3, 64, 64), targets([1, 2]))
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in before.items())
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert missing == [
        n for n in before if n.startswith(("backbone.0.body.conv1.", "backbone.0.body.layer1.")) and "conv" in n
    ]


def test_unknown_depth_and_pre_norm_are_named():
    with pytest.raises(UserError, match="depth: 20"):
        build("detr", options(depth=20))
    with pytest.raises(UserError, match="pre_norm: true"):
        build("detr", options(pre_norm=True))


# ---- padding
@pytest.mark.parametrize(("image", "places"), [((256, 320), (8, 10)), ((75, 109), (3, 4)), ((101, 67), (7, 5))])
def test_the_padding_mask_is_the_interpolated_one(image, places):
    sizes = torch.tensor([image, (image[0] - 9, image[1] // 2), (1, 1), (image[0] // 3, image[1])])
    full = torch.ones(len(sizes), *image)
    for mask, (h, w) in zip(full, sizes.tolist(), strict=True):
        mask[:h, :w] = 0
    want = F.interpolate(full[None], size=places)[0].bool()
    assert torch.equal(padding_mask(sizes, image, places), want)
    assert not padding_mask(sizes, image, places)[:, 0, 0].any()


def test_positions_are_those_of_the_valid_part():
    mask = torch.ones(1, 3, 5, dtype=torch.bool)
    mask[:, :2, :4] = False
    table = PositionEmbeddingSine(4, 100.0)(mask)[0].numpy()
    for i in range(2):
        for j in range(4):
            y, x = (i + 1) / (2 + 1e-6) * 2 * np.pi, (j + 1) / (4 + 1e-6) * 2 * np.pi
            want = [f(a / t) for a in (y, x) for t in (1, 10) for f in (np.sin, np.cos)]
            assert np.allclose(table[:, i, j], want, atol=1e-5)


def test_nobody_looks_at_padding():
    transformer = Transformer(16, 2, 1, 2, 32, 0.0).eval()
    features, query, position = torch.rand(1, 16, 3, 4), torch.rand(5, 16), torch.rand(1, 16, 3, 4)
    mask = torch.zeros(1, 3, 4, dtype=torch.bool)
    mask[:, :, 3:] = True
    changed = torch.where(mask[:, None], torch.full((), 7.0), features)
    with torch.no_grad():
        one, other, without = (
            transformer(x, m, query, position)[-1]
            for x, m in ((features, mask), (changed, mask), (changed, ~mask & mask))
        )
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(other, without, atol=1e-3)


def test_sizes_of_the_whole_image_are_the_default():
    model = build("detr", options()).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        given, default = (model(images, s)["main"]["boxes"] for s in (torch.tensor([[64, 96]] * 2), None))
        padded = model(images, torch.tensor([[64, 96], [32, 64]]))["main"]["boxes"]
    assert torch.equal(given, default)
    assert torch.allclose(given[0], padded[0], atol=1e-6)
    assert not torch.allclose(given[1], padded[1], atol=1e-4)


# ---- layers
def test_decoder_layer_adds_positions_where_the_official_one_does():
    layer = TransformerDecoderLayer(16, 4, 32, 0.0)
    x, query, memory, position = (torch.rand(2, n, 16) for n in (5, 5, 7, 7))
    mask = torch.arange(7) > torch.tensor([[4], [6]])

    def attend(own: MultiheadAttention, q, k, v, padding=None):
        official = nn.MultiheadAttention(16, 4, batch_first=True)
        official.load_state_dict(own.state_dict())
        return official(q, k, v, key_padding_mask=padding)[0]

    y = layer.norm1(x + attend(layer.self_attn, x + query, x + query, x))
    y = layer.norm2(y + attend(layer.multihead_attn, y + query, memory + position, memory, mask))
    want = layer.norm3(y + layer.linear2(layer.linear1(y).relu()))
    assert torch.allclose(layer(x, query, memory, memory + position, mask[:, None, None]), want, atol=1e-6)


def test_dropout_follows_the_draws():
    model = build("detr", options(dropout=0.3)).train()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        one, same, other = (model(images, None, None, Draws(k))["main"]["logits"] for k in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


# ---- losses
def test_classification_divides_by_the_sum_of_weights():
    rng = np.random.default_rng(0)
    logits, classes = rng.normal(size=(2, 3, 4)), np.array([[0, 3, 3], [2, 3, 1]])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = np.where(classes == 3, 0.1, 1.0)
    want = -(weights * np.log(np.take_along_axis(p, classes[..., None], 2)[..., 0])).sum() / weights.sum()
    assert float(classification(torch.tensor(logits), classes, 0.1)) == pytest.approx(want)


def test_matching_cost_is_the_formula():
    matcher = HungarianMatcher(COSTS)
    logits = torch.tensor([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]])
    cost = matcher.cost(logits, boxes, np.array([1]), np.array([[0.5, 0.5, 0.2, 0.2]], np.float32))
    p = [np.exp(2) / (1 + np.exp(2) + np.e), 1 / (np.e + 2)]
    assert np.allclose(cost[:, 0], [-p[0] - 2, -p[1] + 5 * 0.4 - 2 * 0.25], atol=1e-6)


def test_losses_of_a_known_matching():
    logits = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])
    head = {"logits": logits, "boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]])}
    criterion = SetCriterion(HungarianMatcher(COSTS), 0.1)
    truth = [np.array([[0.5, 0.5, 0.4, 0.2]], np.float32)], [np.array([0])]
    named, matches = criterion({"main": head, "aux": [head]}, *truth)
    assert list(named) == [f"loss_{kind}{suffix}" for suffix in ("", "_0") for kind in ("ce", "bbox", "giou")]
    assert [x.tolist() for x in matches["aux_0"][0]] == [[0], [0]]
    assert float(named["loss_bbox"]) == pytest.approx(0.2)
    assert float(named["loss_giou_0"]) == pytest.approx(0.5)
    assert float(named["loss_ce"]) == pytest.approx(np.log(1 + 2 * np.exp(-9)), rel=1e-3)


def test_the_total_is_weighted_and_the_components_are_not():
    model = build("detr", options(loss_weights={"ce": 3.0, "bbox": 5.0, "giou": 2.0}))
    losses = train(model, torch.rand(2, 3, 64, 64), targets([2, 1]))
    factors = {"ce": 3, "bbox": 5, "giou": 2}
    want = sum(factors[name.split("_")[1]] * float(value.detach()) for name, value in losses.named.items())
    assert float(losses.total.detach()) == pytest.approx(want, rel=1e-5)
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_without_auxiliary_losses_only_the_last_layer_answers():
    losses = train(build("detr", options(aux_loss=False)), torch.rand(1, 3, 64, 64), targets([2]))
    assert list(losses.named) == ["loss_ce", "loss_bbox", "loss_giou"]
    assert list(losses.matches) == ["match/main/img0/src", "match/main/img0/tgt"]


# ---- images without boxes, and of any size
@pytest.mark.parametrize("counts", [(0, 2), (0, 0), (0,)])
def test_images_without_boxes(counts):
    model = build("detr", options())
    losses = train(model, torch.rand(len(counts), 3, 64, 64), targets(counts))
    assert torch.isfinite(losses.total.detach())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert losses.matches["match/aux_0/img0/src"].shape == (0,)
    assert (float(losses.named["loss_bbox"].detach()) == 0) == (sum(counts) == 0)
    assert float(losses.named["loss_ce"].detach()) > 0


@pytest.mark.parametrize("dilation", [False, True])
@pytest.mark.parametrize("size", [(75, 109), (33, 47)])
def test_one_image_of_an_odd_size(size, dilation):
    model = build("detr", options(depth=50, dilation=dilation, freeze_norm=True, frozen_stages=1))
    truth = targets([2], size)
    losses = train(model, torch.rand(1, 3, *size), truth, torch.tensor([size]))
    assert torch.isfinite(losses.total.detach())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    with torch.no_grad():
        [found] = model.eval().detect(model(torch.rand(1, 3, *size)), torch.tensor([size]))
    assert found.boxes.shape == (6, 4)
    assert torch.isfinite(found.boxes).all()


def test_detections_have_the_best_real_class_and_pixels_of_the_given_size():
    logits = torch.tensor([[[0.0, 2.0, 5.0], [3.0, 0.0, 0.0]]])
    boxes = torch.tensor([[[0.5, 0.25, 0.2, 0.1], [0.5, 0.5, 1.0, 1.0]]])
    [found] = detections(logits, boxes, torch.tensor([[200, 100]]))
    assert found.labels.tolist() == [1, 0]
    assert torch.allclose(found.boxes[0], torch.tensor([40.0, 40.0, 60.0, 60.0]))
    assert torch.allclose(found.scores, logits.softmax(-1)[0, [0, 1], [1, 0]])
