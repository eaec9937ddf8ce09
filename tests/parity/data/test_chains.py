import colorsys

import numpy as np
import pytest
from generated import pattern

from parity.config.models import model_config, model_names, variant_names
from parity.data.augment_detr import random_size_crop
from parity.data.augment_nanodet import saturate
from parity.data.chains import make_augment
from parity.data.coco import open_split
from parity.data.loader import Loader, batch_digest
from parity.data.plan import BatchPlan, generator
from parity.data.transforms import make_preprocess
from parity.errors import UserError

CHAINS = {
    "rtdetr": (
        {"photometric": 0.5, "zoom_out": 0.5, "iou_crop": 0.8, "flip": 0.5},
        {"kind": "square", "size": 160},
    ),
    "detr": ({"kind": "detr", "scale": 0.2}, {"kind": "short_side", "size": 160, "max_size": 266}),
    "gfocalv2": ({"kind": "gfocalv2", "scales": [96, 192]}, {"kind": "keep_ratio", "size": 160, "max_size": 266}),
    "nanodet": ({"kind": "nanodet"}, {"kind": "square", "size": 160, "normalize": "bgr"}),
}
STILL = {  # what moves no colours, so that the rectangle below stays the brightest thing
    "rtdetr": {"photometric": 0.0},
    "nanodet": {"brightness": 0.0, "contrast": None, "saturation": None},
}


def both(name, changes=None):
    augment, preprocess = CHAINS[name]
    return make_augment(augment | (changes or {})), make_preprocess(preprocess)


@pytest.mark.parametrize("name", CHAINS)
def test_a_pure_function_of_its_generator(name):
    chain, preprocess = both(name)
    image, boxes, labels = pattern(120, 170), np.array([[10, 20, 90, 100], [60, 5, 160, 110]], np.float32), np.arange(2)
    before, seen = (image.copy(), boxes.copy(), labels.copy()), set()
    for key in range(20):
        first, second = (chain.prepare((image, boxes, labels), generator(5, 1, key), preprocess) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        assert first[0].dtype == np.float32 and first[0].shape[0] == 3 and len(first[1]) == len(first[2])
        seen.add((first[0].shape, first[0].tobytes()))
    assert len(seen) > 12
    assert all(np.array_equal(a, b) for a, b in zip(before, (image, boxes, labels), strict=True))


@pytest.mark.parametrize("name", CHAINS)
def test_batches_depend_on_seed_epoch_and_image_alone(name, shapes):
    augment, preprocess = both(name)
    dataset = open_split(shapes, "train")

    def digests(seed, epoch, workers):
        loader = Loader(dataset, BatchPlan(dataset.ids, 4, 2, 0), preprocess, augment, seed, workers)
        return [batch_digest(batch) for batch in loader.batches(epoch)]

    assert digests(3, 1, 0) == digests(3, 1, 3)
    assert digests(3, 1, 0) != digests(4, 1, 0) and digests(3, 1, 0) != digests(3, 2, 0)


@pytest.mark.parametrize("name", CHAINS)
def test_boxes_follow_the_pixels(name):
    """A bright rectangle on black: after every draw its pixels lie in its box, and they reach its sides."""
    chain, preprocess = both(name, STILL.get(name))
    left, top, right, bottom = rectangle = 40, 30, 110, 90
    image = np.zeros((120, 170, 3), np.uint8)
    image[top:bottom, left:right] = 255
    boxes, labels = np.array([rectangle], np.float32), np.array([4])
    # NanoDet-Plus's warp maps pixel index to pixel index: up to half a pixel of the file (2.24 of the input) off when
    # mirrored, and half a pixel of the input; the others are off by rounding to pixels alone.
    tolerance = 0.5 * (1 + 2.24) + 0.5 if name == "nanodet" else 1.1
    checked = 0
    for key in range(60):
        tensor, moved, kept = chain.prepare((image, boxes, labels), generator(key), preprocess)
        bright = tensor[0] > (tensor[0].min() + tensor[0].max()) / 2
        if not len(kept):
            continue
        x1, y1, x2, y2 = moved[0]
        assert 0 <= x1 < x2 <= tensor.shape[2] and 0 <= y1 < y2 <= tensor.shape[1]
        if bright.all() or min(x2 - x1, y2 - y1) < 3 or tensor[0].max() == tensor[0].min():
            continue
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(found, moved[0], atol=tolerance)
        checked += 1
    assert checked > 30


def test_detr_sizes_come_from_the_scaled_list_and_keep_the_ratio():
    chain, preprocess = both("detr", {"crop": 0.0})
    allowed = {round(side * 0.2) for side in chain.scales}
    image, nothing = np.zeros((100, 130, 3), np.uint8), (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    shapes = {chain.prepare((image, *nothing), generator(k), preprocess)[0].shape for k in range(80)}
    assert {min(shape[1:]) for shape in shapes} == allowed == {96, 102, 109, 115, 122, 128, 134, 141, 147, 154, 160}
    assert all(shape[2] == int(shape[1] * 130 / 100) for shape in shapes)
    fixed, _ = both("detr", {"crop": 0.0, "scales": []})
    assert fixed.prepare((image, *nothing), generator(0), preprocess)[0].shape == (3, 160, 208)


def test_detr_crops_half_of_the_images():
    chain, preprocess = both("detr", {"scales": [], "flip": 0.0})
    image = pattern(100, 130)
    whole, _ = preprocess(image, np.zeros((0, 4), np.float32))
    sample = image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    same = [np.array_equal(chain.prepare(sample, generator(9, k), preprocess)[0], whole) for k in range(200)]
    assert 75 < sum(same) < 125


def test_the_crop_clips_boxes_and_drops_what_is_outside():
    image = pattern(60, 80)
    boxes = np.array([[0, 0, 80, 60], [0, 0, 1, 1], [79, 59, 80, 60]], np.float32)
    seen = set()
    for key in range(40):
        cropped, kept, labels = random_size_crop(image, boxes, np.arange(3), generator(key), 20, 50)
        height, width = cropped.shape[:2]
        assert 20 <= height <= 50 and 20 <= width <= 50
        assert kept[0].tolist() == [0, 0, width, height] and len(kept) == len(labels)
        seen.add(tuple(labels.tolist()))
    assert seen <= {(0,), (0, 1), (0, 2)} and (0,) in seen
    small, _, _ = random_size_crop(image[:10], boxes, np.arange(3), generator(1), 20, 50)
    assert small.shape[0] == 10  # an image smaller than the crop keeps that side


def test_gfocalv2_sizes_span_the_range_and_small_boxes_go():
    chain, preprocess = both("gfocalv2")
    image = np.zeros((100, 130, 3), np.uint8)
    boxes = np.array([[1, 1, 1.9, 50], [1, 1, 2, 50]], np.float32)
    sides = set()
    for key in range(300):
        tensor, kept, labels = chain.prepare((image, boxes, np.arange(2)), generator(key), preprocess)
        sides.add(min(tensor.shape[1:]))
        assert labels.tolist() == [1] and len(kept) == 1
    assert min(sides) <= 98 and max(sides) >= 190 and sides <= set(range(96, 193))


def test_nanodet_keeps_boxes_of_which_nothing_is_left_unless_told():
    """Official behaviour: boxes are clipped to the input and none is dropped."""
    image, boxes = np.zeros((100, 100, 3), np.uint8), np.array([[0, 0, 4, 4], [96, 96, 100, 100]], np.float32)
    counts = {}
    for least in (0.0, 1.0):
        chain, preprocess = both("nanodet", {"min_box": least})
        found = [chain.prepare((image, boxes, np.arange(2)), generator(k), preprocess)[1] for k in range(60)]
        counts[least] = sum(map(len, found))
        assert least == 0 or all((found[k][:, 2:] - found[k][:, :2] >= least).all() for k in range(60))
    assert counts[0.0] == 120 > counts[1.0] > 40


def test_nanodet_without_steps_is_the_validation_pipeline():
    off = dict.fromkeys(("scale", "stretch", "contrast", "saturation")) | {"translate": 0, "flip": 0, "brightness": 0}
    chain, preprocess = both("nanodet", off)
    image, boxes = pattern(90, 140), np.array([[10, 20, 90, 80]], np.float32)
    made, moved, _ = chain.prepare((image, boxes, np.array([0])), generator(0), preprocess)
    tensor, expected = preprocess(image, boxes)
    np.testing.assert_array_equal(made, tensor)
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_nanodet_warps_stay_in_their_ranges():
    chain, preprocess = both("nanodet")
    lines = np.array([chain.matrix((100, 200), generator(k), preprocess) for k in range(400)])
    factor = lines[:, :, 0] * [200 / 160, 100 / 160]
    centre = (lines[:, :, 0] * [100, 50] + lines[:, :, 1]) / 160
    assert 0.4 < (factor[:, 0] < 0).mean() < 0.6 and (factor[:, 1] > 0).all()
    assert abs(factor).min() >= 0.6 * 0.8 and 1.4 < abs(factor).max() <= 1.4 * 1.2
    assert abs(centre - 0.5).max() <= 0.2 + 1e-9 and 0.4 < (abs(centre - 0.5).max(axis=1) < 1e-9).mean() < 0.6
    assert 0.35 < (abs(abs(factor[:, 0]) - abs(factor[:, 1])) < 1e-9).mean() < 0.65


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_saturation_is_that_of_hsv(factor):
    values = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    expected = np.empty_like(values)
    for index in np.ndindex(4, 5):
        h, s, v = colorsys.rgb_to_hsv(*values[index])
        expected[index] = colorsys.hsv_to_rgb(h, s * factor, v)
    np.testing.assert_allclose(saturate(values, factor), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"kind": "mosaic"}, "kind"),
        ({"kind": "detr", "zoom_out": 0.5}, "zoom_out"),
        ({"kind": "detr", "scales": "480"}, "scales"),
        ({"kind": "detr", "crop_size": [600, 384]}, "crop_size"),
        ({"kind": "detr", "crop_resize": []}, "crop_resize"),
        ({"kind": "detr", "scale": 0.001}, "scale"),
        ({"kind": "detr", "crop": 1.5}, "crop"),
        ({"kind": "gfocalv2", "scales": [960]}, "scales"),
        ({"kind": "gfocalv2", "crop": 0.5}, "crop"),
        ({"kind": "nanodet", "stretch": [0.8, 1.2]}, "stretch"),
        ({"kind": "nanodet", "scale": [0, 1.2]}, "scale"),
        ({"kind": "nanodet", "brightness": [0.1, 0.2]}, "brightness"),
        ({"kind": "nanodet", "saturation": 0.5}, "saturation"),
    ],
)
def test_bad_settings_are_named(config, key):
    with pytest.raises(UserError, match=rf"^train\.augment\.{key}: "):
        make_augment(config)


def test_a_chain_refuses_the_preprocess_of_another(shapes):
    dataset = open_split(shapes, "train")
    with pytest.raises(UserError, match=r"train\.augment\.kind: does not fit preprocess\.kind"):
        Loader(dataset, None, make_preprocess({"kind": "square", "size": 64}), make_augment({"kind": "detr"}))


@pytest.mark.parametrize("model", model_names())
def test_every_variant_of_every_model_has_a_chain_that_fits_its_preprocess(model, shapes):
    dataset = open_split(shapes, "train")
    for variant in variant_names(model):
        config = model_config(model, variant, num_classes=7)
        preprocess, augment = make_preprocess(config.preprocess.plain()), make_augment(config.train.augment)
        assert Loader(dataset, None, preprocess, augment).preprocess is preprocess, variant
