"""The training augmentation that a model's `train.augment` section names.

| kind | chain | preprocess |
|---|---|---|
| `rtdetr` (if none is named) | colours, zoom out, IoU crop, flip; what is not named is off | any |
| `detr` | flip, random size crop, multi-scale; what is not named is official | `short_side` |
| `gfocalv2` | multi-scale range, flip; what is not named is official | `keep_ratio` |
| `nanodet` | one warp, colours; what is not named is official | `square` with `normalize: bgr` |

A chain draws only from the generator that it is given, and the loader's generator depends on
(seed, epoch, image id) alone. It finishes the sample with the preprocess, whose size it may change.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from parity.data.augment import Augment, Sample
from parity.data.augment_detr import DetrAugment
from parity.data.augment_gfocalv2 import GFocalV2Augment
from parity.data.augment_nanodet import NanoDetAugment
from parity.data.transforms import Preprocess
from parity.errors import UserError

KINDS = {"rtdetr": Augment, "detr": DetrAugment, "gfocalv2": GFocalV2Augment, "nanodet": NanoDetAugment}


class Chain(Protocol):
    """uint8 [H, W, 3] RGB, boxes and labels -> float32 [3, h, w], the boxes of that frame and their labels."""

    takes: type | None  # the class of preprocess that the chain needs, None for any

    def prepare(self, sample: Sample, rng: np.random.Generator, preprocess: Preprocess) -> Sample: ...


def make_augment(config: Mapping[str, Any] | None) -> Chain | None:
    """The chain that an `augment` section names, None for an empty one."""
    if not config:
        return None
    settings = dict(config)
    kind = settings.pop("kind", "rtdetr")
    if kind not in KINDS:
        raise UserError(f"train.augment.kind: {kind!r} is unknown, expected one of {', '.join(KINDS)}")
    known = [f.name for f in fields(KINDS[kind])]
    for key in settings:
        if key not in known:
            raise UserError(f"train.augment.{key}: is unknown to kind {kind}, expected one of {', '.join(known)}")
    return KINDS[kind](**settings)
