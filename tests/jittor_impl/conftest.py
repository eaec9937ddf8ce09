"""Small models and batches for the Jittor tests. One model size throughout: every new rank or operator is compiled."""

import numpy as np
import pytest

from jittor_impl import ops
from jittor_impl.framework import JittorFramework
from parity.config.models import model_config
from parity.framework import Batch, Group

SMALL = {"num_queries": 20, "num_denoising": 12, "hidden_dim": 32, "decoder_hidden_dim": 32, "base_width": 8}
SMALL |= {"decoder_layers": 3, "csp_blocks": 3, "focal_gamma": 2.0}  # as the official variants have them


@pytest.fixture(autouse=True)
def fast_operators():
    ops.use("fast")


@pytest.fixture
def options():
    """options(variant, **overrides): hyper-parameters of RT-DETR; without a variant a very small model."""

    def make(variant: str | None = None, num_classes: int = 3, **overrides):
        if variant is None:
            variant, overrides = "tiny", SMALL | overrides
        return model_config("rtdetr", variant, num_classes, overrides).options

    return make


@pytest.fixture
def framework(options):
    def make(seed: int = 0, ops: str = "fast", **overrides) -> JittorFramework:
        made = JittorFramework("cpu", 1, {"ops": ops})
        made.seed(seed)
        made.build("rtdetr", options(**overrides))
        return made

    return make


@pytest.fixture
def batch():
    """batch(counts, size): images of noise with `counts[i]` boxes each."""

    def make(counts: tuple[int, ...] = (2, 3), size: tuple[int, int] = (64, 64), seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        total, (h, w) = sum(counts), size
        low = rng.uniform(0, 0.5, (total, 2))
        high = low + rng.uniform(0.1, 0.5, (total, 2))
        return Batch(
            rng.random((len(counts), 3, h, w), dtype=np.float32),
            np.tile(np.array([[h, w]], np.int64), (len(counts), 1)),
            (np.concatenate([low, high], 1) * [w, h, w, h]).astype(np.float32),
            rng.integers(0, 3, total).astype(np.int64),
            np.array(counts, np.int64),
        )

    return make


@pytest.fixture
def groups():
    """groups(framework): two optimiser groups with different learning rates and decay."""

    def make(framework) -> list[Group]:
        names = [t.name for t in framework.tensors() if t.kind == "parameter"]
        return [Group(names[::2], 1e-3, 0.0), Group(names[1::2], 1e-4, 0.1)]

    return make
