"""`parity` resizes batches for multi-scale training; RT-DETR's official code leaves that to torch's interpolate."""

import numpy as np
import pytest
import torch

from parity.data.transforms import resize_nearest


@pytest.mark.parametrize("source", [97, 160, 640])
def test_resize_nearest_takes_the_pixels_that_torch_takes(source):
    images = np.random.default_rng(source).random((1, 3, source, source), dtype=np.float32)
    for size in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800, 131, 77):
        expected = torch.nn.functional.interpolate(torch.from_numpy(images), size=[size, size]).numpy()
        np.testing.assert_array_equal(resize_nearest(images, size), expected)
