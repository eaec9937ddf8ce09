"""Detections of a whole batch are those of `detect`, image by image, to the last bit, also where scores are equal."""

import pytest
import torch
from small_models import MODELS, images, small

from parity.data.assign import level_points
from torch_impl.export.heads import HEADS, Detections, RawOutputs, places, suppressed
from torch_impl.export.operators import BestPlaces, ClassNMS, TopK
from torch_impl.models.gfocalv2.postprocess import best_places
from torch_impl.nms import class_nms


@pytest.fixture(autouse=True)
def single_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_detections_of_a_batch_are_those_of_detect(name):
    model, _ = small(name)
    given = images(3, 64, 96)
    expected = model.detect(model(*given), given[1])
    boxes, scores, labels, counts = Detections(HEADS[name](model))(*given)
    assert len({tuple(image.scores.tolist()) for image in expected}) == 3 and all(len(i.scores) for i in expected)
    for i, image in enumerate(expected):
        order, count = image.scores.argsort(descending=True, stable=True), int(counts[i])
        assert count == len(order)
        assert torch.equal(scores[i, :count], image.scores[order])
        assert torch.equal(labels[i, :count], image.labels[order])
        assert torch.equal(boxes[i, :count], image.boxes[order])
        assert not scores[i, count:].any() and not boxes[i, count:].any() and (labels[i, count:] == -1).all()


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_raw_outputs_are_those_of_the_model(name):
    model, _ = small(name)
    given = images(2, 64, 64)
    head = RawOutputs(HEADS[name](model))
    found, expected = head(*given), model.raw_outputs(model(*given))
    assert head.names == list(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected.values(), strict=True))


def test_places_are_those_of_the_models():
    shapes, strides = [(3, 5), (2, 3)], [8, 16]
    points, each = places(shapes, strides, torch.zeros(1))
    assert torch.equal(points, torch.from_numpy(level_points(shapes, strides)))
    assert each.tolist() == [8.0] * 15 + [16.0] * 6


@pytest.mark.parametrize("limit", [3, 8, 20])
def test_best_places_of_equal_values(limit):
    values = torch.tensor([[0.5, 0.9, 0.5, 0.1, 0.9, 0.5, 0.2, 0.1]])
    found = BestPlaces.apply(values, limit)
    assert found[0].tolist() == best_places(values[0], [(2, 4)], limit).tolist()


def test_top_of_equal_values_takes_the_lower_index_first():
    values, indices = TopK.apply(torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0]]), 4)
    assert indices.tolist() == [[1, 3, 2, 4]] and values.tolist() == [[3.0, 3.0, 2.0, 2.0]]


def test_suppression_with_equal_scores_and_a_limit_is_that_of_class_nms():
    """Coarse scores and boxes: nearly every score is a tie, and more boxes stand than the limit lets through."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 6, (2, 40, 2), generator=generator).float() * 8
    boxes = torch.cat([corner, corner + 8 * torch.randint(1, 3, (2, 40, 2), generator=generator)], 2)
    scores = torch.randint(0, 5, (2, 40, 3), generator=generator).float() / 5
    options = {"max_detections": 25, "nms_iou": 0.5, "score_threshold": 0.3}
    found = suppressed(boxes, scores, options)
    for i in range(2):
        place, label = (scores[i] > 0.3).nonzero(as_tuple=True)
        score = scores[i][place, label]
        kept = class_nms(boxes[i][place], score, label, 0.5, 25)
        assert int(found.counts[i]) == len(kept) == 25
        assert torch.equal(found.scores[i], score[kept]) and torch.equal(found.labels[i], label[kept])
        assert torch.equal(found.boxes[i], boxes[i][place][kept])


def test_nothing_above_the_threshold_gives_no_detection():
    found = suppressed(torch.ones(1, 4, 4), torch.full((1, 4, 2), 0.1),
                       {"max_detections": 5, "nms_iou": 0.5, "score_threshold": 0.1})  # fmt: skip
    assert found.counts.tolist() == [0] and found.labels.tolist() == [[-1] * 5]
    assert ClassNMS.apply(torch.ones(1, 4, 4), torch.zeros(1, 2, 4), 5, 0.5, 0.1).shape == (0, 3)
