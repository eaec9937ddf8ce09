"""A dataset small enough to be drawn anew in every test session."""

import pytest

from parity.data.build import build

SMALL = {
    "source": "synthetic",
    "train_images": 14,
    "val_images": 5,
    "image_size": [48, 72],
    "crowd_fraction": 0.3,
    "seed": 3,
}


@pytest.fixture
def small():
    """The configuration that `shapes` is built from."""
    return SMALL


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """Folder of a neutral dataset with 14 + 5 drawn images, crowds and empty images among them."""
    out = tmp_path_factory.mktemp("data") / "shapes"
    build(SMALL, out)
    return out
