from pathlib import Path

import numpy as np
import pytest
from generated import pattern

from parity.data.loader import decode
from parity.data.resample import resize_linear, warp_axes
from parity.data.transforms import make_preprocess, resize_nearest, scale_boxes
from parity.errors import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def test_square_resize_matches_the_official_tensor():
    """The fixture was computed with torchvision's v2.Resize on a Pillow image, division by 255 (a strided sample)."""
    image = decode(FIXTURES / "preprocess_c_61x157.png")
    tensor, _ = make_preprocess({"kind": "square", "size": 640})(image, np.zeros((0, 4), np.float32))
    with np.load(FIXTURES / "preprocess_rtdetr_c_61x157.npz", allow_pickle=False) as golden:
        assert tensor.shape == tuple(golden["shape"]) and tensor.dtype == np.float32
        sample = tensor.ravel()[:: int(golden["stride"])][: golden["sample"].size]
        np.testing.assert_allclose(sample, golden["sample"], atol=1e-6)
        np.testing.assert_allclose([tensor.mean(), tensor.std(), tensor.max()], golden["stats"], atol=1e-5)


PIPELINES = {
    "detr": {"kind": "short_side", "size": 800, "max_size": 1333},
    "gfocalv2": {"kind": "keep_ratio", "size": 800, "max_size": 1333},
    "nanodet_320": {"kind": "square", "size": 320, "normalize": "bgr"},
    "nanodet_416": {"kind": "square", "size": 416, "normalize": "bgr"},
}


@pytest.mark.parametrize("name", PIPELINES)
def test_official_validation_pipelines(name):
    """A strided sample and the moments of what each official pipeline made of the 61x157 image (OpenCV 4)."""
    preprocess = make_preprocess(PIPELINES[name])
    tensor, _ = preprocess(decode(FIXTURES / "preprocess_c_61x157.png"), np.zeros((0, 4), np.float32))
    with np.load(FIXTURES / "preprocess_golden.npz", allow_pickle=False) as golden:
        shape, stride, sample, stats = (golden[f"{name}/{key}"] for key in ("shape", "stride", "sample", "stats"))
    multiple = preprocess.pad_multiple
    assert [-(-side // multiple) * multiple for side in tensor.shape[1:]] == list(shape[1:])
    padded = np.zeros(shape, np.float32)
    padded[:, : tensor.shape[1], : tensor.shape[2]] = tensor
    np.testing.assert_allclose(padded.ravel()[:: int(stride)][: sample.size], sample, rtol=0, atol=1e-6)
    np.testing.assert_allclose([padded.mean(), padded.std(), abs(padded).max()], stats, rtol=0, atol=1e-5)


def test_resamplers_give_the_bytes_of_opencv():
    """What cv2 4.10 made of a generated image: larger, smaller, exactly half, warped, mirrored, partly outside."""
    with np.load(FIXTURES / "preprocess_golden.npz", allow_pickle=False) as golden:
        cases = [name for name in golden.files if name.startswith(("resize/", "warp/"))]
        assert len(cases) == 8
        for name in cases:
            call, source, target, *number = name.split("/")
            image, size = pattern(*map(int, source.split("x"))), tuple(map(int, target.split("x")))
            made = (
                resize_linear(image, size)
                if call == "resize"
                else warp_axes(image, golden[f"matrix/{number[0]}"], size)
            )
            np.testing.assert_array_equal(made, golden[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("detr", (333, 500), (800, 1201)),
        ("detr", (853, 1280), (800, 1200)),
        ("detr", (61, 157), (518, 1333)),
        ("detr", (500, 333), (1201, 800)),
        ("gfocalv2", (333, 500), (800, 1201)),
        ("gfocalv2", (853, 1280), (800, 1200)),
        ("gfocalv2", (157, 61), (1333, 518)),
        ("gfocalv2", (800, 900), (800, 900)),
    ],
)
def test_sizes_follow_the_official_rule(name, source, target):
    tensor, boxes = make_preprocess(PIPELINES[name])(np.zeros((*source, 3), np.uint8), np.ones((1, 4), np.float32))
    assert tensor.shape == (3, *target)
    np.testing.assert_allclose(boxes[0, :2], [target[1] / source[1], target[0] / source[0]], rtol=1e-6)


def test_square_can_be_normalised():
    image = pattern(20, 30)
    plain, _ = make_preprocess({"kind": "square", "size": 16})(image, np.zeros((0, 4), np.float32))
    scaled, _ = make_preprocess({"kind": "square", "size": 16, "normalize": True})(image, np.zeros((0, 4), np.float32))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(scaled.transpose(1, 2, 0), (plain.transpose(1, 2, 0) - mean) / deviation, atol=1e-5)


def test_square_resize_scales_boxes_by_axis():
    image = np.zeros((10, 40, 3), np.uint8)
    _, boxes = make_preprocess({"kind": "square", "size": 20})(image, np.array([[4, 1, 40, 10]], np.float32))
    np.testing.assert_array_equal(boxes, np.array([[2, 2, 20, 20]], np.float32))


def test_a_box_that_ends_at_the_border_still_does():
    for width in range(1, 700):
        box = np.array([[0, 0, width, width]], np.float32)
        assert scale_boxes(box, (width, width), (640, 640)).max() == 640


def test_nearest_takes_the_floor_of_the_scaled_index():
    images = np.arange(5, dtype=np.float32) * np.ones((1, 3, 5, 5), np.float32)
    np.testing.assert_array_equal(resize_nearest(images, 3)[0, 0, 0], [0, 1, 3])
    np.testing.assert_array_equal(resize_nearest(images, 8)[0, 0, 0], [0, 0, 1, 1, 2, 3, 3, 4])
    np.testing.assert_array_equal(resize_nearest(images.swapaxes(2, 3), 3)[0, 2, :, 0], [0, 1, 3])


@pytest.mark.parametrize("config", [{}, {"kind": "warp", "size": 32}])
def test_unknown_kind_is_named(config):
    with pytest.raises(UserError, match=r"preprocess\.kind"):
        make_preprocess(config)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"kind": "square", "size": 32, "max_size": 64}, "max_size"),
        ({"kind": "square", "size": 32, "normalize": "rgb"}, "normalize"),
        ({"kind": "short_side", "size": 32, "normalize": True}, "normalize"),
        ({"kind": "short_side", "size": 800, "max_size": 640}, "max_size"),
        ({"kind": "keep_ratio", "size": 800, "pad_multiple": 0}, "pad_multiple"),
    ],
)
def test_bad_settings_are_named(config, key):
    with pytest.raises(UserError, match=rf"preprocess\.{key}"):
        make_preprocess(config)


@pytest.mark.parametrize("size", [0, None, 64.0, True])
def test_bad_size_is_named(size):
    with pytest.raises(UserError, match=r"preprocess\.size"):
        make_preprocess({"kind": "square", "size": size})
