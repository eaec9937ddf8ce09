"""Losses and boxes against formulas written out in NumPy."""

import itertools

import numpy as np
import pytest
import torch

from parity.errors import UserError
from torch_impl import boxes
from torch_impl.models.rtdetr.criterion import SetCriterion, focal_loss, varifocal_loss
from torch_impl.models.rtdetr.denoising import Denoising
from torch_impl.models.rtdetr.matcher import HungarianMatcher

RNG = np.random.default_rng(1)
MATCHER = HungarianMatcher({"class": 2.0, "bbox": 5.0, "giou": 2.0}, alpha=0.25, gamma=2.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bce(x, t):
    return -(t * np.log(sigmoid(x)) + (1 - t) * np.log(1 - sigmoid(x)))


def giou(a, b):
    """GIoU and IoU of two xyxy boxes, one coordinate after the other."""
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return w * h / union - (hull - union) / hull, w * h / union


def random_boxes(n):
    return np.concatenate([RNG.uniform(0.3, 0.7, (n, 2)), RNG.uniform(0.1, 0.5, (n, 2))], 1)


def corners(b):
    return np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1)


def test_box_formats_are_inverse_and_iou_is_the_formula():
    a, b = random_boxes(6), random_boxes(6)
    xyxy = boxes.cxcywh_to_xyxy(torch.tensor(a))
    assert np.allclose(xyxy, corners(a))
    assert np.allclose(boxes.xyxy_to_cxcywh(xyxy), a)
    got = boxes.generalized_iou(xyxy[:, None], torch.tensor(corners(b))[None])
    want = [[giou(x, y)[0] for y in corners(b)] for x in corners(a)]
    assert np.allclose(got, want)
    apart = boxes.generalized_iou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1]))
    assert float(apart) == pytest.approx(-1 / 3)


def test_inverse_sigmoid_inverts_and_stays_finite_at_the_ends():
    x = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    assert torch.allclose(boxes.inverse_sigmoid(x).sigmoid(), x)
    ends = boxes.inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64))
    assert np.allclose(ends, np.array([-1, -1, 1, 1]) * np.log(1e5))


def test_focal_loss():
    x, t = RNG.normal(size=(2, 5, 3)), (RNG.random((2, 5, 3)) < 0.3).astype(float)
    p = sigmoid(x)
    want = np.where(t == 1, 0.75 * (1 - p) ** 2 * -np.log(p), 0.25 * p**2 * -np.log(1 - p))
    assert np.allclose(focal_loss(torch.tensor(x), torch.tensor(t), alpha=0.75, gamma=2.0), want)


def test_varifocal_loss_and_its_gradient_through_the_cross_entropy_only():
    x, t = RNG.normal(size=(2, 5, 3)), (RNG.random((2, 5, 3)) < 0.3).astype(float)
    q = t * RNG.random(t.shape)
    weight = 0.75 * sigmoid(x) ** 2 * (1 - t) + q
    logits = torch.tensor(x, requires_grad=True)
    got = varifocal_loss(logits, torch.tensor(t), torch.tensor(q), alpha=0.75, gamma=2.0)
    assert np.allclose(got.detach(), weight * bce(x, q))
    got.sum().backward()
    assert np.allclose(logits.grad, weight * (sigmoid(x) - q))


def test_matching_is_the_cheapest_of_all_assignments():
    logits, found, wanted, labels = RNG.normal(size=(5, 4)), random_boxes(5), random_boxes(3), [2, 0, 2]
    p = sigmoid(logits)[:, labels]
    cost = 2 * (0.25 * (1 - p) ** 2 * -np.log(p + 1e-8) - 0.75 * p**2 * -np.log(1 - p + 1e-8))
    cost += 5 * np.abs(found[:, None] - wanted[None]).sum(-1)
    cost -= 2 * np.array([[giou(x, y)[0] for y in corners(wanted)] for x in corners(found)])
    logits, found, labels = torch.tensor(logits), torch.tensor(found), np.array(labels)
    assert np.allclose(MATCHER.cost(logits, found, labels, wanted), cost)
    [[(src, tgt)]] = MATCHER.match([{"logits": logits[None], "boxes": found[None]}], [labels], [wanted])
    assert src.tolist() == sorted(src.tolist())
    best = min(itertools.permutations(range(5), 3), key=lambda places: cost[list(places), range(3)].sum())
    assert dict(zip(tgt.tolist(), src.tolist(), strict=True)) == dict(enumerate(best))


def test_matching_says_that_training_diverged():
    head = {"logits": torch.full((1, 4, 3), float("nan")), "boxes": torch.rand(1, 4, 4)}
    with pytest.raises(UserError, match="diverged"):
        MATCHER.match([head], [np.array([1])], [np.full((1, 4), 0.5, np.float32)])


@pytest.mark.parametrize("kind", ["vfl", "focal", "bce"])
def test_criterion_sums_weighted_losses_over_the_number_of_boxes(kind):
    weights = {"class": 1.5, "bbox": 5.0, "giou": 2.0}
    criterion = SetCriterion(MATCHER, kind, weights, alpha=0.75, gamma=2.0)
    logits, found = RNG.normal(size=(2, 4, 3)), np.stack([random_boxes(4), random_boxes(4)])
    wanted, labels = [random_boxes(2), random_boxes(1)], [[0, 2], [1]]
    head = {"logits": torch.tensor(logits), "boxes": torch.tensor(found)}
    outputs = {"main": head, "aux": [head], "dn": [], "denoising": None}
    named, matches = criterion(outputs, wanted, [np.array(c) for c in labels])
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
    assert float(named[f"loss_{kind}"]) == pytest.approx(1.5 * want.sum() / 3)
    assert float(named["loss_bbox"]) == pytest.approx(5 * l1 / 3)
    assert float(named["loss_giou"]) == pytest.approx(2 * overlap / 3)
    assert named["loss_giou_aux_0"] == named["loss_giou"]


def test_denoising_losses_use_known_matches_and_divide_by_the_groups():
    criterion = SetCriterion(MATCHER, "bce", {"class": 1.0, "bbox": 1.0, "giou": 1.0}, alpha=0.75, gamma=2.0)
    wanted, labels = [random_boxes(2), random_boxes(1)], [[0, 2], [1]]
    head = {"logits": torch.tensor(RNG.normal(size=(2, 8, 3))), "boxes": torch.tensor(RNG.random((2, 8, 4)))}
    positives = [np.array([0, 1, 4, 5]), np.array([0, 4])]
    noise = Denoising(torch.zeros(2, 8), torch.zeros(2, 8, 4), torch.zeros(1), positives, groups=2)
    outputs = {"main": head, "aux": [], "dn": [head], "denoising": noise}
    named, matches = criterion(outputs, wanted, [np.array(c) for c in labels])
    found, l1 = head["boxes"].numpy(), 0.0
    for place, box in ((0, 0), (1, 1), (4, 0), (5, 1)):
        l1 += np.abs(found[0, place] - wanted[0][box]).sum()
    for place in (0, 4):
        l1 += np.abs(found[1, place] - wanted[1][0]).sum()
    assert list(matches) == ["main"]
    assert float(named["loss_bbox_dn_0"]) == pytest.approx(l1 / (3 * 2))
