"""Seeded initial weights, made by NumPy from names and shapes alone, so that every framework starts from the same bits.

Each tensor draws from its own generator, keyed by (seed, CRC-32 of its name): adding a layer changes no other one. The
rules are the layers' defaults in PyTorch (torch.nn.modules: convolutions and linear layers uniform within
1/sqrt(fan_in), norms 1 and 0) and, before them, one table per model with what its official code does differently.
"""

import argparse
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.convert import model_tensors, write_verified
from parity.coverage import match
from parity.download import local
from parity.errors import UserError
from parity.files import file_sha256, write_json
from parity.framework import Framework, TensorInfo
from parity.weights import PthReader, load, suffix_of, weights_sha256

PRIOR = 0.01  # probability that class heads start with (focal loss paper, section 4.1)


@dataclass
class Request:
    """What a rule may look at: the tensor, the shapes of all tensors, the model's options, and its generator."""

    name: str
    shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, Any]
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


def prior_bias(request: Request) -> np.ndarray:
    """The logit of PRIOR, so that few classes fire at first."""
    return np.full(request.shape, -math.log((1 - PRIOR) / PRIOR), np.float32)


def _beside(bias: str) -> str:
    return bias.removesuffix("bias") + "weight"


def _default(request: Request) -> Rule | None:
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


# ---- RT-DETR: rtdetr_pytorch/src/zoo/rtdetr/rtdetr_decoder.py, the _reset_parameters of RTDETRTransformer and of
# MSDeformableAttention. Backbone, encoder and input projections have the defaults.
def sampling_directions(request: Request) -> np.ndarray:
    """Bias of the sampling offsets, [heads * levels * points * 2] laid out (head, level, point, xy).

    Head h looks along the angle 2 pi h / heads, scaled so that the larger coordinate is 1; point p goes p + 1 times as
    far. In float64 before rounding, so that no machine's float32 sine decides the bits.
    """
    heads, points = request.options["decoder_heads"], request.options["decoder_points"]
    levels = request.shape[0] // (heads * points * 2)
    angles = np.arange(heads) * (2 * math.pi / heads)
    grid = np.stack([np.cos(angles), np.sin(angles)], -1)
    grid /= np.abs(grid).max(-1, keepdims=True)
    reach = np.arange(1, points + 1)
    directions = np.broadcast_to(grid[:, None, None, :] * reach[:, None], (heads, levels, points, 2))
    return directions.reshape(request.shape).astype(np.float32)


def padded_embedding(request: Request) -> np.ndarray:
    """N(0, 1); the last row, the padding index, is zero (torch.nn.Embedding)."""
    values = normal(request)
    values[-1] = 0
    return values


RTDETR: list[tuple[str, Rule]] = [
    (r"decoder\.(enc_score_head|dec_score_head\.\d+)\.bias", prior_bias),
    (r"decoder\.(enc_bbox_head|dec_bbox_head\.\d+)\.layers\.2\.(weight|bias)", zeros),
    (r"decoder\.enc_output\.0\.weight", xavier_uniform),
    (r"decoder\.query_pos_head\.layers\.[01]\.weight", xavier_uniform),
    (r"decoder\.tgt_embed\.weight", xavier_uniform),
    (r"decoder\.denoising_class_embed\.weight", padded_embedding),
    (r".*\.cross_attn\.sampling_offsets\.weight", zeros),
    (r".*\.cross_attn\.sampling_offsets\.bias", sampling_directions),
    (r".*\.cross_attn\.attention_weights\.(weight|bias)", zeros),
    (r".*\.cross_attn\.(value_proj|output_proj)\.weight", xavier_uniform),
    (r".*\.cross_attn\.(value_proj|output_proj)\.bias", zeros),
]


@dataclass
class Model:
    """How a model starts: its own rules (first match wins) and which tensors are copies of one another.

    `shared` replaces part of a name before it seeds the generator: layers that the official code makes with
    `copy.deepcopy` start equal.
    """

    rules: list[tuple[str, Rule]]
    shared: tuple[tuple[str, str], ...] = ()


MODELS = {
    "rtdetr": Model(
        RTDETR,
        (
            (r"^decoder\.decoder\.layers\.\d+\.", "decoder.decoder.layers.0."),
            (r"^encoder\.encoder\.\d+\.layers\.\d+\.", "encoder.encoder.0.layers.0."),
        ),
    ),
}


def initialize(model: str, tensors: list[TensorInfo], seed: int, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Initial values of every tensor, in the order and with the shapes and dtypes of `tensors`.

    `options` are the model's resolved hyper-parameters. Raises UserError for a model without rules.
    """
    if model not in MODELS:
        raise UserError(f"model {model!r}: has no initialisation rules, expected one of {', '.join(MODELS)}")
    if seed < 0:
        raise UserError(f"seed {seed}: expected a natural number")
    shapes = {info.name: tuple(info.shape) for info in tensors}
    return {info.name: _fill(MODELS[model], info, shapes, seed, options) for info in tensors}


def _fill(model: Model, info: TensorInfo, shapes: dict, seed: int, options: dict[str, Any]) -> np.ndarray:
    key = info.name
    for pattern, replacement in model.shared:
        key = re.sub(pattern, replacement, key)
    sequence = np.random.SeedSequence([seed, zlib.crc32(key.encode())])
    request = Request(info.name, shapes[info.name], shapes, options, np.random.Generator(np.random.PCG64(sequence)))
    rule = next((rule for pattern, rule in model.rules if re.fullmatch(pattern, info.name)), None) or _default(request)
    if rule is None:
        raise ValueError(f"{info.name}: no initialisation rule knows this tensor")
    return np.asarray(rule(request), np.dtype(info.dtype), order="C")


# ---- the verb `init`
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb `init`."""
    parser.add_argument("--model", required=True, help="Model name, e.g. rtdetr.")
    parser.add_argument("--variant", help="Variant of the model (its default one).")
    parser.add_argument("--num-classes", type=int, required=True, help="Number of classes of the model.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random values (0).")
    parser.add_argument("--out", required=True, metavar="FILE", help="Weights to write, usually init.safetensors.")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="An option of the model."
    )
    parser.add_argument("--weights", metavar="FILE|URL", help="Pretrained weights that replace random ones.")
    parser.add_argument("--sha256", metavar="HEX", help="SHA-256 that the pretrained file has to have.")
    parser.add_argument("--part", choices=("detector", "backbone"), help="What that file holds (found by its names).")
    parser.add_argument("--reset-classes", action="store_true", help="Start class heads anew if the classes differ.")
    parser.add_argument("--allow-missing", action="append", default=[], metavar="PATTERN", help="Tensors it may lack.")
    parser.add_argument("--allow-unused", action="append", default=[], metavar="PATTERN", help="Tensors to ignore.")


def run(args: argparse.Namespace, framework_class: type[Framework]) -> None:
    """The verb `init`: write the weights and `<out>.report.json`."""
    suffix_of(args.out)
    tensors, config = model_tensors(framework_class, args.model, args.variant, args.num_classes, args.set)
    arrays = initialize(args.model, tensors, args.seed, config["options"])
    pretrained = None
    if args.weights:
        pretrained = overlay(arrays, tensors, args, framework_class.read_pth)
    report = {
        "model": args.model,
        "variant": config["variant"],
        "num_classes": args.num_classes,
        "seed": args.seed,
        "output": Path(args.out).name,
        "verified": write_verified(args.out, arrays),
        "weights_sha256": weights_sha256(arrays),
        "pretrained": pretrained,
    }
    write_json(f"{args.out}.report.json", report)
    took = f", {pretrained['taken']} of them from {args.weights}" if pretrained else ""
    print(f"{args.out}: {len(arrays)} tensors of {args.model} {config['variant']}, seed {args.seed}{took}")


def overlay(
    arrays: dict[str, np.ndarray], tensors: list[TensorInfo], args: argparse.Namespace, reader: PthReader | None = None
) -> dict[str, Any]:
    """Replace entries of `arrays` by a pretrained file's, in place; returns the account of it for the report."""
    path = local(args.weights, args.sha256, Path(args.out).parent)
    loaded = load(path, reader)
    coverage = match(
        str(path), loaded, tensors, args.model, args.part, args.allow_missing, args.allow_unused, args.reset_classes
    )
    arrays.update(coverage.arrays)
    found = {"input": path.name, "input_sha256": file_sha256(path), "wrapper": loaded.wrapper}
    return {**found, "taken": len(coverage.arrays) - len(coverage.filled), **coverage.report()}
