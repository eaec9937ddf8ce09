from types import SimpleNamespace

import numpy as np
import pytest
from generated import pattern

from parity.config.model import PreprocessConfig
from parity.data.preview import CELL, colours, sheet
from parity.data.transforms import make_preprocess

KINDS = [
    {"kind": "square", "size": 64},
    {"kind": "square", "size": 64, "normalize": True},
    {"kind": "square", "size": 64, "normalize": "bgr"},
    {"kind": "short_side", "size": 64, "max_size": 90},
    {"kind": "keep_ratio", "size": 64, "max_size": 90},
]
AUGMENT = [{"flip": 0.5}, {"flip": 0.5}, {"kind": "nanodet"}, {"kind": "detr", "scale": 0.1}, {"kind": "gfocalv2"}]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c['kind']}-{c.get('normalize', '')}")
def test_colours_come_back_from_every_preprocess(config):
    preprocess, image = make_preprocess(config), pattern(40, 50)
    np.testing.assert_array_equal(colours(preprocess.finish(image), preprocess), image)


@pytest.mark.parametrize(("preprocess", "augment"), zip(KINDS, AUGMENT, strict=True), ids=lambda c: str(c)[:40])
def test_the_sheet_shows_images_boxes_and_is_repeatable(shapes, preprocess, augment):
    scales = [48, 64] if preprocess["kind"] == "square" else []
    settings = SimpleNamespace(
        data=SimpleNamespace(root=str(shapes)),
        label_space="contiguous",
        preprocess=PreprocessConfig(**preprocess),
        train=SimpleNamespace(augment=augment, multi_scale=scales),
        seed=1,
    )
    drawn = np.asarray(sheet(settings, images=3, epochs=2))
    assert drawn.shape[0] > 3 * CELL and drawn.shape[1] > 3 * CELL
    np.testing.assert_array_equal(drawn, np.asarray(sheet(settings, images=3, epochs=2)))
    assert (drawn != 255).any(axis=2).mean() > 0.3
    settings.seed = 2
    other = np.asarray(sheet(settings, images=3, epochs=2))
    assert not np.array_equal(drawn, other)
