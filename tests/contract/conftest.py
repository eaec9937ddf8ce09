"""The framework of this environment: PyTorch or Jittor where one is installed, else the NumPy stand-in."""

from importlib.util import find_spec

import numpy as np
import pytest

from parity.config.models import model_config
from parity.framework import Batch, Framework, Group

NAME = next((name for name in ("torch", "jittor") if find_spec(name)), "numpy")
SMALL = {"num_queries": 20, "num_denoising": 12, "hidden_dim": 32, "decoder_hidden_dim": 32, "base_width": 8}
SMALL |= {"decoder_layers": 3, "csp_blocks": 3, "focal_gamma": 2.0}  # the smallest RT-DETR of the other tests


def framework_class() -> type[Framework]:
    if NAME == "torch":
        from torch_impl.framework import TorchFramework as chosen
    elif NAME == "jittor":
        from jittor_impl.framework import JittorFramework as chosen
    else:
        from numpy_framework import NumpyFramework as chosen
    return chosen


@pytest.fixture
def framework():
    """framework(seed): a small RT-DETR of three classes; the stand-in builds its own model from the same options.

    A framework draws its weights from `seed`. The stand-in begins with zeros, so it is given drawn ones.
    """

    def make(seed: int = 0) -> Framework:
        made = framework_class()("cpu", 1, {})
        made.seed(seed)
        made.build("rtdetr", model_config("rtdetr", "tiny", 3, SMALL).options)
        if NAME == "numpy":
            rng = np.random.default_rng(seed)
            made.load_state({name: rng.random(v.shape, dtype=np.float32) for name, v in made.state().items()})
        return made

    return make


@pytest.fixture
def batch():
    """batch(counts): images of noise, 64 x 64, with `counts[i]` boxes each."""

    def make(counts: tuple[int, ...] = (2, 3), seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 32, (sum(counts), 2))
        return Batch(
            rng.random((len(counts), 3, 64, 64), dtype=np.float32),
            np.full((len(counts), 2), 64, np.int64),
            np.concatenate([low, low + rng.uniform(6, 32, low.shape)], 1).astype(np.float32),
            rng.integers(0, 3, len(low)).astype(np.int64),
            np.array(counts, np.int64),
        )

    return make


@pytest.fixture
def groups():
    """groups(framework): two optimiser groups with different learning rates and no decay."""

    def make(framework: Framework) -> list[Group]:
        names = [t.name for t in framework.tensors() if t.kind == "parameter"]
        return [Group(names[::2], 1e-3, 0.0), Group(names[1::2], 1e-4, 0.0)]

    return make
