"""RT-DETR in PyTorch: names, shapes, freezing, denoising, gradients, and images of any size."""

import numpy as np
import pytest
import torch

from parity.data.denoising import noised
from parity.data.draws import Draws
from parity.data.targets import Target
from parity.errors import UserError
from parity.files import digest
from torch_impl.boxes import inverse_sigmoid
from torch_impl.models import build
from torch_impl.models.rtdetr.backbone import PResNet
from torch_impl.models.rtdetr.decoder import make_anchors
from torch_impl.models.rtdetr.deformable import MSDeformableAttention, sample_levels
from torch_impl.models.rtdetr.denoising import make_denoising
from torch_impl.models.rtdetr.encoder import position_table

# SHA-256 of the [name, shape, dtype] lists of the official code's state dicts.
OFFICIAL_R18VD = "79cb45feeabea42e1c90562fbe600c09b8bad4f33e06c626b126236ea3af0d11"
OFFICIAL_BACKBONES = {
    18: "91164994814de5cee97a5bbef87d08731465375d90072a28ea5e54c9dd0d6afd",
    34: "57a6022adca6843019797f39592d69875dd12bdfb47abbb09bd92a2653a89eca",
    50: "9337273a0f1c5709aa84366b2f6863e2748efeedc6df9d0f8864e6309fd5fc60",
    101: "3c9fa55d9a50807c6eef4d8247faf5927b6465fee4235b2c60167f14f2c32397",
}


def listing(model):
    return [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in model.state_dict().items()]


def targets(counts, size=(64, 64)):
    h, w = size
    box = np.array([[0.1, 0.2, 0.5, 0.7]], np.float32) * np.array([w, h, w, h], np.float32)
    return [Target(np.tile(box, (n, 1)), np.arange(n) % 3, size) for n in counts]


class FixedDraws:
    """Every uniform draw is `u`, every integer `low + i`."""

    def __init__(self, u, i):
        self.u, self.i = u, i

    def uniform(self, shape):
        return np.full(shape, self.u, np.float32)

    def integers(self, low, high, shape):
        return np.full(shape, low + self.i, np.int64)


def test_state_dict_of_r18vd_is_the_official_one(options):
    model = build("rtdetr", options("r18vd", 80))
    assert digest(listing(model)) == OFFICIAL_R18VD
    assert sum(p.numel() for p in model.parameters()) == 20184464


@pytest.mark.parametrize("depth", OFFICIAL_BACKBONES)
def test_backbones_have_the_official_names(depth):
    assert digest(listing(PResNet(depth, 64, [1, 2, 3], -1, False))) == OFFICIAL_BACKBONES[depth]


@pytest.mark.parametrize(("variant", "norms"), [("r50vd", 55), ("r101vd", 106)])
def test_large_variants_freeze_the_stem_and_every_backbone_norm(options, variant, norms):
    with torch.device("meta"):
        model = build("rtdetr", options(variant, 80))
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == [f"backbone.conv1.conv1_{i}.conv.weight" for i in (1, 2, 3)]
    names = list(model.state_dict())
    assert sum(n.startswith("backbone.") and n.endswith("running_var") for n in names) == norms
    assert not any(n.startswith("backbone.") and n.endswith("num_batches_tracked") for n in names)
    assert "encoder.input_proj.0.1.num_batches_tracked" in names
    assert not any(".conv3." in n for n in names if n.startswith("encoder."))


def test_r101vd_has_a_wider_encoder_than_decoder(options):
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in build("rtdetr", options("r101vd", 80)).state_dict().items()}
    assert shapes["encoder.encoder.0.layers.0.linear1.weight"] == (2048, 384)
    assert shapes["encoder.pan_blocks.1.conv1.conv.weight"] == (384, 768, 1, 1)
    assert shapes["decoder.input_proj.2.conv.weight"] == (256, 384, 1, 1)
    assert shapes["decoder.decoder.layers.5.cross_attn.sampling_offsets.weight"] == (192, 256)


def test_r34vd_has_four_decoder_layers(options):
    with torch.device("meta"):
        names = [name for name, _ in build("rtdetr", options("r34vd", 80)).named_parameters()]
    assert "decoder.dec_bbox_head.3.layers.2.bias" in names
    assert "decoder.dec_bbox_head.4.layers.2.bias" not in names


def test_frozen_norms_do_not_move_in_training(options):
    model = build("rtdetr", options(freeze_norm=True)).train()
    before = {n: t.clone() for n, t in model.state_dict().items() if n.startswith("backbone.")}
    model(torch.rand(2, 3, 64, 64), None, targets([1, 1]), Draws(0))
    after = model.state_dict()
    assert all(torch.equal(t, after[n]) for n, t in before.items())
    assert int(after["encoder.input_proj.0.1.num_batches_tracked"]) == 1


def test_unknown_model_depth_loss_and_missing_option_are_named(options):
    with pytest.raises(UserError, match="yolo"):
        build("yolo", {})
    with pytest.raises(UserError, match="depth: 20"):
        build("rtdetr", options(depth=20))
    with pytest.raises(UserError, match="class_loss: l2"):
        build("rtdetr", options(class_loss="l2"))
    with pytest.raises(UserError, match="hidden_dim"):
        build("rtdetr", {k: v for k, v in options().items() if k != "hidden_dim"})


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (75, 109)])
def test_any_image_size_gives_all_queries(options, size):
    model = build("rtdetr", options()).eval()
    with torch.no_grad():
        out = model(torch.rand(2, 3, *size))
        maps = model.encoder(model.backbone(torch.rand(1, 3, *size)))
    assert [tuple(m.shape[2:]) for m in maps] == [(-(-size[0] // s), -(-size[1] // s)) for s in (8, 16, 32)]
    raw = model.raw_outputs(out)
    assert raw["pred_logits"].shape == (2, 20, 3)
    assert raw["pred_boxes"].shape == (2, 20, 4)
    assert all(torch.isfinite(x).all() for x in raw.values())
    found = model.detect(out, torch.tensor([size, size]))
    assert len(found) == 2
    assert len(found[0].scores) == 60
    assert torch.equal(found[0].scores, found[0].scores.sort(descending=True).values)


def test_too_small_an_image_says_so(options):
    with pytest.raises(UserError, match="num_queries: 20 queries cannot be picked from 6 positions"):
        build("rtdetr", options()).eval()(torch.rand(1, 3, 16, 16))


def test_detections_are_in_pixels_of_the_given_size(options):
    model = build("rtdetr", options())
    logits = torch.full((1, 2, 3), -9.0)
    logits[0, 1, 2] = 4.0
    boxes = torch.tensor([[[0.5, 0.5, 1.0, 1.0], [0.5, 0.25, 0.2, 0.1]]])
    [found] = model.detect({"main": {"logits": logits, "boxes": boxes}}, torch.tensor([[200, 100]]))
    assert int(found.labels[0]) == 2
    assert torch.allclose(found.boxes[0], torch.tensor([40.0, 40.0, 60.0, 60.0]))
    assert len(found.scores) == 6


def test_every_parameter_gets_a_gradient(options):
    model = build("rtdetr", options()).train()
    truth = targets([2, 1])
    model.losses(model(torch.rand(2, 3, 64, 64), None, truth, Draws(0)), truth).total.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert not model.decoder.denoising_class_embed.weight.grad[3].any()  # the row that pads


@pytest.mark.parametrize(("counts", "denoising"), [((0, 0), 12), ((2, 1), 0)])
def test_without_boxes_or_denoising_only_the_class_embedding_is_not_reached(options, counts, denoising):
    model = build("rtdetr", options(num_denoising=denoising)).train()
    truth = targets(counts)
    losses = model.losses(model(torch.rand(2, 3, 64, 64), None, truth, None), truth)
    losses.total.backward()
    assert torch.isfinite(losses.total.detach())
    assert not any("_dn_" in name for name in losses.named)
    assert [n for n, p in model.named_parameters() if p.grad is None] == ["decoder.denoising_class_embed.weight"]
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    if counts == (0, 0):
        assert float(losses.named["loss_bbox"].detach()) == 0
        assert float(losses.named["loss_vfl"].detach()) > 0
        assert losses.matches["match/main/img0/src"].shape == (0,)


def test_an_image_without_boxes_beside_one_with_boxes(options):
    model = build("rtdetr", options()).train()
    truth = targets([0, 2])
    losses = model.losses(model(torch.rand(2, 3, 64, 64), None, truth, Draws(0)), truth)
    losses.total.backward()
    assert torch.isfinite(losses.total.detach())
    assert losses.matches["match/aux_2/img0/src"].shape == (0,)
    assert losses.matches["match/aux_2/img1/src"].shape == (2,)
    heads = ["", "_aux_0", "_aux_1", "_aux_2", "_dn_0", "_dn_1", "_dn_2"]
    assert list(losses.named) == [f"loss_{kind}{h}" for h in heads for kind in ("vfl", "bbox", "giou")]
    assert float(sum(losses.named.values()).detach()) == pytest.approx(float(losses.total.detach()), rel=1e-5)


def test_matching_queries_do_not_see_the_denoising_ones(options):
    images, truth = torch.rand(2, 3, 64, 64), targets([2, 1])
    model = build("rtdetr", options()).train()
    with torch.no_grad():
        for name, p in model.named_parameters():  # box heads start at zero, which would hide much
            if "bbox_head" in name:
                p.normal_(0, 0.05)
        with_noise = model(images, None, truth, Draws(0))
        model.options["num_denoising"] = 0
        without = model(images, None, truth, None)
    assert with_noise["denoising"].groups == 6
    assert torch.allclose(with_noise["main"]["logits"], without["main"]["logits"], atol=1e-5)
    assert torch.allclose(with_noise["main"]["boxes"], without["main"]["boxes"], atol=1e-6)


def test_selection_is_detached_for_the_decoder_but_trained_by_its_own_loss(options):
    model = build("rtdetr", options(num_denoising=0)).train()
    out = model(torch.rand(2, 3, 64, 64), None, targets([2, 1]), None)
    head = model.decoder.enc_bbox_head.layers[0].bias
    assert torch.autograd.grad(out["main"]["boxes"].sum(), head, allow_unused=True, retain_graph=True)[0] is None
    assert torch.autograd.grad(out["aux"][-1]["boxes"].sum(), head, retain_graph=True)[0] is not None
    encoder_output = model.decoder.enc_output[0].weight
    found = torch.autograd.grad(out["main"]["logits"].sum(), encoder_output, allow_unused=True, retain_graph=True)
    assert found[0] is None


def test_a_layers_box_keeps_the_gradient_of_the_layer_before_only(options):
    model = build("rtdetr", options(num_denoising=0)).train()
    out = model(torch.rand(2, 3, 64, 64), None, targets([2, 1]), None)
    last = [h.layers[-1].bias for h in model.decoder.dec_bbox_head]
    found = torch.autograd.grad(out["main"]["boxes"].sum(), last, allow_unused=True)
    assert [g is not None for g in found] == [False, True, True]


def test_denoising_queries_are_the_noised_boxes_as_logits():
    boxes, labels = [np.full((1, 4), 0.4, np.float32)], [np.array([2])]
    noise = noised(boxes, labels, 3, 5, 2, 0.0, 1.0, FixedDraws(0.1, 1))
    queries = make_denoising(noise, torch.zeros(1))
    assert torch.equal(queries.boxes, inverse_sigmoid(torch.from_numpy(noise.boxes)))
    assert queries.labels.dtype == torch.int64
    assert queries.labels.tolist() == noise.labels.tolist()
    assert queries.mask.tolist() == noise.mask.tolist()
    assert make_denoising(None, torch.zeros(1)) is None


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
    got = sample_levels(torch.tensor(value), shapes, torch.tensor(locations), torch.tensor(weights))
    assert np.allclose(got[0].reshape(queries, heads, channels), want)


def test_deformable_attention_starts_with_one_direction_per_head():
    attention = MSDeformableAttention(16, 4, 3, 2)
    offsets = attention.sampling_offsets.bias.detach().reshape(4, 3, 2, 2)
    assert torch.allclose(offsets[:, 0, 0], torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-6)
    assert torch.allclose(offsets[:, 2, 1], 2 * offsets[:, 2, 0])


def test_position_table_is_transposed_as_officially():
    table = position_table(3, 2, 8, 100.0, torch.float64, torch.device("cpu"))
    assert table.shape == (1, 6, 8)
    for k in range(6):
        x, y = divmod(k, 2)
        angles = np.array([x, x / 10]), np.array([y, y / 10])
        want = np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)])
        assert np.allclose(table[0, k], want)


def test_anchors_near_the_border_are_unusable():
    anchors, valid = make_anchors(((100, 100), (5, 5)), torch.float64, torch.device("cpu"))
    assert anchors.shape == (1, 10025, 4)
    usable = valid[0, :10000, 0].reshape(100, 100)
    assert not usable[0].any()
    assert not usable[:, -1].any()
    assert usable[1:-1, 1:-1].all()
    assert torch.isinf(anchors[0, 0]).all()
    assert torch.allclose(anchors[0, 10000].sigmoid(), torch.tensor([0.1, 0.1, 0.1, 0.1], dtype=torch.float64))


def test_dropout_follows_the_draws(options):
    model = build("rtdetr", options(encoder_dropout=0.3, decoder_dropout=0.3, num_denoising=0)).train()
    images, truth = torch.rand(2, 3, 64, 64), targets([1, 1])
    with torch.no_grad():
        one, same, other = (model(images, None, truth, Draws(k))["main"]["logits"] for k in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_learnt_queries_have_their_embedding_and_its_gradient(options):
    model = build("rtdetr", options(learnt_init_query=True, num_denoising=0)).train()
    truth = targets([1, 1])
    model.losses(model(torch.rand(2, 3, 64, 64), None, truth, None), truth).total.backward()
    assert model.decoder.tgt_embed.weight.shape == (20, 32)
    assert model.decoder.tgt_embed.weight.grad.abs().sum() > 0
