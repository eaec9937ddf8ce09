"""The dynamic soft-label assignment against a plain loop over places and boxes, and cases that can be done by hand."""

import math

import numpy as np
import pytest

from parity.data.assign import level_points
from parity.data.assign_dynamic import dynamic_soft_labels, label_cost

POINTS = level_points([(8, 8), (4, 4)], [8, 16])


def problem(seed: int, boxes: int, classes: int = 4):
    """Predictions at POINTS of which some are near the boxes, and boxes in an image of 64 x 64."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (boxes, 2))
    truth = np.concatenate([low, low + rng.uniform(12, 40, (boxes, 2))], 1).astype(np.float32)
    half = rng.uniform(2, 25, (len(POINTS), 4)).astype(np.float32)
    predicted = np.concatenate([POINTS - half[:, :2], POINTS + half[:, 2:]], 1)
    scores = rng.uniform(0.001, 0.999, (len(POINTS), classes)).astype(np.float32)
    return POINTS, scores, predicted, truth, rng.integers(0, classes, boxes)


def plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0.0) * max(height, 0.0)
    return inter / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter, 1e-6)


def plain_cost(scores, label, iou, iou_factor):
    """Every class on its own: focal weight times cross-entropy, then the overlap."""
    total = 0.0
    for c, p in enumerate(map(float, scores)):
        target = iou if c == label else 0.0
        total += abs(target - p) ** 2 * -(target * math.log(p) + (1 - target) * math.log(1 - p))
    return total - iou_factor * math.log(iou + 1e-7)


def plain_assignment(points, scores, predicted, boxes, labels, topk, iou_factor):
    candidates = [
        n for n, (x, y) in enumerate(points) if any(a < x < c and b < y < d for a, b, c, d in boxes.astype(float))
    ]
    places, wanted = predicted.astype(float), boxes.astype(float)
    iou = {(n, g): plain_iou(places[n], box) for n in candidates for g, box in enumerate(wanted)}
    cost = {(n, g): plain_cost(scores[n], labels[g], value, iou_factor) for (n, g), value in iou.items()}
    claims: dict[int, list[int]] = {}
    for g in range(len(boxes)):
        count = max(1, int(sum(sorted((iou[n, g] for n in candidates), reverse=True)[:topk])))
        for n in sorted(candidates, key=lambda n: cost[n, g])[:count]:
            claims.setdefault(n, []).append(g)
    assigned, overlaps = np.zeros(len(points), int), np.zeros(len(points))
    for n, claimed in claims.items():
        g = claimed[0] if len(claimed) == 1 else min(range(len(boxes)), key=lambda g: cost[n, g])
        assigned[n], overlaps[n] = g + 1, iou[n, g]
    return assigned, overlaps


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("boxes", [1, 3, 8])
def test_equals_a_plain_loop(seed, boxes):
    given = problem(seed, boxes)
    assigned, overlaps = dynamic_soft_labels(*given, topk=13, iou_factor=3.0)
    expected, expected_overlaps = plain_assignment(*given, 13, 3.0)
    assert np.array_equal(assigned, expected)
    np.testing.assert_allclose(overlaps, expected_overlaps, rtol=1e-5)
    assert (assigned > 0).any() and overlaps.dtype == np.float32


def test_several_claims_do_occur_in_the_plain_loop():
    """Otherwise the comparison above would not see how they are settled."""
    points, scores, predicted, boxes, labels = problem(0, 1)
    twice = np.concatenate([boxes, boxes + np.float32(1)])
    given = points, scores, predicted, twice, np.array([labels[0], (labels[0] + 1) % 4])
    assigned, _ = dynamic_soft_labels(*given, topk=13, iou_factor=3.0)
    assert np.array_equal(assigned, plain_assignment(*given, 13, 3.0)[0])
    alone = [dynamic_soft_labels(*given[:3], twice[[i]], given[4][[i]], 13, 3.0)[0] > 0 for i in range(2)]
    assert (alone[0] & alone[1]).any()


@pytest.mark.parametrize(
    "boxes",
    [np.zeros((0, 4)), [[1, 1, 7, 7]], [[8, 8, 8, 8]], [[-30, -30, -1, -1]]],
    ids=["none", "between the places", "without area", "outside"],
)
def test_images_without_candidates_have_no_positives(boxes):
    points, scores, predicted, _, _ = problem(0, 1)
    boxes = np.asarray(boxes, np.float32)
    assigned, overlaps = dynamic_soft_labels(points, scores, predicted, boxes, np.zeros(len(boxes), int), 13, 3.0)
    assert not assigned.any() and not overlaps.any() and len(assigned) == len(overlaps) == len(points)


def test_a_box_may_take_a_place_inside_another_box_only():
    """The second box holds no place, but needs one: it takes the better predicted candidate of the first."""
    boxes = np.array([[4, 4, 20, 12], [17, 9, 23, 15]], np.float32)  # the places (8, 8) and (16, 8); none
    predicted = np.zeros((len(POINTS), 4), np.float32)
    inside = [POINTS.tolist().index([x, 8.0]) for x in (8.0, 16.0)]
    predicted[inside] = boxes[0]
    predicted[inside[1]] = boxes[1]
    scores = np.full((len(POINTS), 2), 0.01, np.float32)
    assigned, overlaps = dynamic_soft_labels(POINTS, scores, predicted, boxes, np.array([0, 1]), 13, 3.0)
    assert assigned[inside[1]] == 2 and overlaps[inside[1]] == 1 and assigned[inside[0]] == 1


def test_certain_scores_give_finite_costs():
    cost = label_cost(np.array([[0.0, 1.0]], np.float32), np.array([0, 1]), np.array([[1.0, 0.0]], np.float32))
    assert np.isfinite(cost).all() and cost[0] == pytest.approx([100.0 + 100.0, 0.0 + 100.0])
