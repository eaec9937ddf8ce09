"""State dicts of official models as lists of names and shapes, and a framework that has nothing but such a list."""

import gzip
import json
import re
from pathlib import Path

import numpy as np

from parity.framework import TensorInfo

KEYS = json.loads(gzip.decompress((Path(__file__).parent / "fixtures/state_keys.json.gz").read_bytes()))
R18 = [TensorInfo(name, tuple(shape), dtype, kind) for name, shape, dtype, kind in KEYS["rtdetr_r18vd"]]
OPTIONS = {"decoder_heads": 8, "decoder_points": 4, "num_classes": 80}
CLASS_HEADS = r"decoder\.(denoising_class_embed|enc_score_head|dec_score_head\.\d+)\..*"


def small(name: str, shape: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """A shape with an eighth of the channels, so that tests of names and files stay quick."""
    kept = "cross_attn" in name or re.fullmatch(CLASS_HEADS, name)
    return tuple(shape) if kept else tuple(size // 8 if size >= 32 else size for size in shape)


SMALL = [TensorInfo(t.name, small(t.name, t.shape), t.dtype, t.kind) for t in R18]


def fill(tensors: list[TensorInfo], seed: int = 0) -> dict[str, np.ndarray]:
    """Any values for a list of tensors, different for each name."""
    rng = np.random.default_rng(seed)
    return {
        t.name: rng.standard_normal(t.shape, np.float32) if t.dtype == "float32" else np.array(seed + 5, t.dtype)
        for t in tensors
    }


def backbone(name: str) -> dict[str, np.ndarray]:
    """A file as published for an ImageNet backbone, narrower."""
    return fill([TensorInfo(key, small(key, shape), dtype, "") for key, shape, dtype in KEYS[name]])


def detector_of(name: str, prefix: str = "backbone.", frozen: bool = False) -> list[TensorInfo]:
    """A model that consists of such a backbone (frozen: without counters) and one layer more."""
    infos = [
        TensorInfo(prefix + key, small(key, shape), dtype, "parameter")
        for key, shape, dtype in KEYS[name]
        if not key.startswith("fc.") and not (frozen and key.endswith("num_batches_tracked"))
    ]
    return [*infos, TensorInfo("head.weight", (4, 4), "float32", "parameter")]


class KeysOnly:
    """Stands in for a framework where only `build` and `tensors` are called; `num_classes` sizes the class heads."""

    name = "keys"

    def build(self, model: str, options: dict) -> None:
        self.classes = options["num_classes"]

    def tensors(self) -> list[TensorInfo]:
        return [self._sized(t) if re.fullmatch(CLASS_HEADS, t.name) else t for t in SMALL]

    def _sized(self, info: TensorInfo) -> TensorInfo:
        rows = self.classes + ("denoising" in info.name)  # one row more for padding
        return TensorInfo(info.name, (rows, *info.shape[1:]), info.dtype, info.kind)
