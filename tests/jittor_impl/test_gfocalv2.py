"""GFocalV2: what the official numbers do not show. Images without boxes, tiny boxes, padding, ties, decoding."""

import numpy as np
import pytest
from gfocalv2_cases import KEYS, SMALL, batch_of, largest_probabilities, maps, step

from jittor_impl.framework import JittorFramework
from jittor_impl.models.gfocalv2.head import top_statistics
from jittor_impl.models.gfocalv2.postprocess import best_places, detections
from jittor_impl.runtime import jt
from parity.config.models import model_config
from parity.data.targets import batch_targets
from parity.framework import Group

RNG = np.random.default_rng(0)


@pytest.fixture
def framework():
    """framework(variant, **overrides): a very small model unless a variant is named."""

    def make(variant: str | None = None, num_classes: int = 3, **overrides) -> JittorFramework:
        overrides = overrides if variant else SMALL | overrides
        made = JittorFramework("cpu", 1)
        made.seed(0)
        made.build("gfocalv2", model_config("gfocalv2", variant or "tiny", num_classes, overrides).options)
        return made

    return make


@pytest.mark.parametrize("boxes", [[[], []], [[[9, 9, 12, 12]], []]], ids=["no boxes", "smaller than a stride"])
def test_without_a_positive_only_the_scores_have_a_loss(framework, boxes):
    result, gradients = step(framework(), batch_of(boxes))
    assert result.losses["loss_cls"] > 0
    assert result.losses["loss_bbox"] == result.losses["loss_dfl"] == 0
    assert not result.extras["assign/img0"].any() and not result.extras["assign/img1"].any()
    assert np.abs(gradients["bbox_head.gfl_reg.weight"]).max() > 0  # through the quality


def test_an_image_without_boxes_beside_one_with_boxes(framework):
    result, _ = step(framework(), batch_of([[], [[8, 8, 56, 56], [0, 0, 30, 20]]]))
    assert not result.extras["assign/img0"].any()
    assert set(result.extras["assign/img1"]) == {0, 1, 2}
    assert result.losses["loss_bbox"] > 0 and result.losses["loss_dfl"] > 0
    for name, value in result.losses.items():
        parts = [result.extras[f"loss/{name}/lvl{i}"] for i in range(5)]
        assert sum(parts) == pytest.approx(value, rel=1e-5)


def test_padding_has_no_class_loss(framework):
    """Cells beyond the size, rounded up to 32, take no part: their scores get no gradient."""
    made = framework()
    made.model.train()
    batch = batch_of([[[2, 2, 30, 30]], []], sizes=((64, 64), (40, 20)))
    outputs = made.model(jt.array(batch.images))
    total = made.model.losses(outputs, batch_targets(batch)).total
    gradient = np.abs(jt.grad(total, outputs["scores"][0]).numpy()).max(1)
    assert (gradient[0] > 0).all()
    assert (gradient[1, :8, :4] > 0).all() and not gradient[1, :, 4:].any()


def test_names_shapes_and_frozen_parameters_are_official(framework):
    tensors = framework("r50_fpn", 80).tensors()
    assert [[t.name, list(t.shape), t.dtype, t.kind == "buffer"] for t in tensors] == KEYS
    frozen = {t.name for t in tensors if t.kind == "frozen"}
    first = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
    assert frozen == {t.name for t in tensors if t.name.startswith(first) and t.kind != "buffer"} and len(frozen) == 33


def test_running_statistics_stand_still_only_with_norm_eval(framework):
    for norm_eval in (True, False):
        made = framework(norm_eval=norm_eval)
        before = made.state()["backbone.layer2.0.bn1.running_mean"]
        step(made, batch_of([[[8, 8, 56, 56]], []]))
        assert (before == made.state()["backbone.layer2.0.bn1.running_mean"]).all() == norm_eval


def test_statistics_are_the_largest_probabilities_of_each_side():
    logits = RNG.normal(size=(2, 4 * 6, 3, 2)).astype(np.float32)
    for mean in (False, True):
        got = top_statistics(jt.array(logits), 6, 3, mean).numpy()
        assert np.allclose(got, largest_probabilities(logits, 6, 3, mean), atol=1e-6)


def decode(framework, scores, logits, size=(32, 32), limit=100):
    scores, logits = ([jt.array(x) for x in part] for part in (scores, logits))
    integral = framework(reg_max=8).model.bbox_head.integral
    rest = {"nms_pre": 1000, "threshold": 0.05, "nms_iou": 0.6, "limit": limit}
    found = detections(scores, logits, jt.array([size]), integral, [8, 16], **rest)
    return [part.tolist() for part in found[0]]


def test_decoding_by_hand(framework):
    """Distances are strides from a cell's corner; boxes are clipped to (height, width); every class counts apart."""
    place, coarse = (0, 1, 2), (1, 1, 0)
    scores = {place: {0: 0.9, 1: 0.3, 2: 0.05}, coarse: {0: 0.5, 1: 0.4}}
    distances = {place: (1, 1, 1, 2), coarse: (0, 1, 1, 1)}
    boxes, values, labels = decode(framework, *maps(scores, distances), size=(22, 32))
    first, second = [8.0, 0.0, 24.0, 22.0], [0.0, 0.0, 16.0, 22.0]
    assert np.allclose(boxes, [first, second, second, first], atol=1e-4)
    assert values == pytest.approx([0.9, 0.5, 0.4, 0.3]) and labels == [0, 0, 1, 1]
    assert decode(framework, *maps(scores, distances), limit=1)[1] == pytest.approx([0.9])


def test_nothing_above_the_threshold(framework):
    boxes, values, labels = decode(framework, *maps({(0, 0, 0): {0: 0.05}}, {}))
    assert boxes == values == labels == []


def test_levels_with_too_many_places_keep_the_best_and_the_lower_of_equals():
    best = np.array([0.1, 0.5, 0.5, 0.2, 0.5, 0.3, 0.9, 0.8])
    assert best_places(best, [(2, 3), (1, 2)], 3).tolist() == [1, 2, 4, 6, 7]
    assert best_places(best, [(2, 3), (1, 2)], 1).tolist() == [1, 6]


def test_scalars_have_the_official_shape_wherever_they_leave(framework):
    made, name = framework(), "bbox_head.scales.0.scale"
    made.load_state(made.state() | {name: np.array(2.5, np.float32)})
    assert made.state()[name].shape == () and made.state()[name] == 2.5
    made.make_optimizer(
        "SGD", [Group([t.name for t in made.tensors() if t.kind == "parameter"], 0.1, 0.0)], momentum=0.9
    )
    made.start_ema()
    _, gradients = step(made, batch_of([[[8, 8, 56, 56]], []]))
    made.optimizer_step([0.1], None)
    made.update_ema(0.5)
    moments = made.optimizer_state()
    assert gradients[name].shape == moments[f"{name}/momentum_buffer"].shape == made.ema_state()[name].shape == ()
    made.load_optimizer_state(moments)
    assert made.optimizer_state()[f"{name}/momentum_buffer"] == gradients[name]
    assert made.ema_state()[name] == pytest.approx((made.state()[name] + 2.5) / 2)
