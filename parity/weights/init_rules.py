"""Rules that initial values are made by: from a tensor's name and shape, its model's options and its own generator.

The defaults are those of the layers in PyTorch (torch.nn.modules): convolutions and linear layers uniform within
1/sqrt(fan_in), norms 1 and 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parity.config.model import Options

PRIOR = 0.01  # probability that class heads start with (focal loss paper, section 4.1)


@dataclass
class Request:
    """The values that a rule may use: the tensor, the shapes of all tensors, the model's options, and its generator."""

    name: str
    shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    options: Options
    rng: np.random.Generator

    def uniform(self, bound: float) -> np.ndarray:
        """float32 in [-bound, bound)."""
        return (self.rng.random(self.shape, np.float32) * 2 - 1) * np.float32(bound)


Rule = Callable[[Request], np.ndarray]


def zeros(request: Request) -> np.ndarray:
    return np.zeros(request.shape, np.float32)


def ones(request: Request) -> np.ndarray:
    return np.ones(request.shape, np.float32)


def normal(request: Request) -> np.ndarray:
    """N(0, 1), the default of embeddings."""
    return request.rng.standard_normal(request.shape, np.float32)


def gaussian(deviation: float) -> Rule:
    """A rule: N(0, deviation^2)."""

    def rule(request: Request) -> np.ndarray:
        return normal(request) * np.float32(deviation)

    return rule


def fan_in_uniform(request: Request) -> np.ndarray:
    """U(-b, b), b = 1/sqrt(fan_in): Kaiming-uniform with a = sqrt(5), the default of convolutions and linear layers."""
    return request.uniform(1 / math.sqrt(math.prod(request.shape[1:])))


def fan_in_bias(request: Request) -> np.ndarray:
    """U(-b, b) with the fan-in of the weight beside this bias."""
    return request.uniform(1 / math.sqrt(math.prod(request.shapes[_beside(request.name)][1:])))


def xavier_uniform(request: Request) -> np.ndarray:
    """U(-b, b), b = sqrt(6 / (fan_in + fan_out))."""
    receptive = math.prod(request.shape[2:])
    return request.uniform(math.sqrt(6 / ((request.shape[0] + request.shape[1]) * receptive)))


def fan_out_normal(request: Request) -> np.ndarray:
    """N(0, 2/fan_out): Kaiming-normal for ReLU, how torchvision's ResNets start."""
    deviation = math.sqrt(2 / (request.shape[0] * math.prod(request.shape[2:])))
    return normal(request) * np.float32(deviation)


def prior_bias(request: Request) -> np.ndarray:
    """The logit of PRIOR, so that few classes fire at first."""
    return np.full(request.shape, -math.log((1 - PRIOR) / PRIOR), np.float32)


def bins(request: Request) -> np.ndarray:
    """The distances 0, 1, ... that a head's distributions are over."""
    return np.arange(request.shape[0], dtype=np.float32)


def _beside(bias: str) -> str:
    return bias.removesuffix("bias") + "weight"


def default(request: Request) -> Rule | None:
    """PyTorch's default for a tensor that no model rule claims."""
    name, shape = request.name, request.shape
    if name.endswith((".running_mean", ".num_batches_tracked")):
        return zeros
    if name.endswith(".running_var"):
        return ones
    if name.endswith(".in_proj_weight"):
        return xavier_uniform
    if name.endswith((".in_proj_bias", ".out_proj.bias")):  # torch.nn.MultiheadAttention zeroes both
        return zeros
    if name.endswith(".weight"):
        return ones if len(shape) == 1 else fan_in_uniform
    if name.endswith(".bias") and _beside(name) in request.shapes:
        return zeros if len(request.shapes[_beside(name)]) == 1 else fan_in_bias
    return None
