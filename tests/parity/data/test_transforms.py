from pathlib import Path

import numpy as np
import pytest

from parity.data.loader import decode
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


@pytest.mark.parametrize("size", [0, None, 64.0, True])
def test_bad_size_is_named(size):
    with pytest.raises(UserError, match=r"preprocess\.size"):
        make_preprocess({"kind": "square", "size": size})
