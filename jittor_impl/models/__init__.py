"""The detectors in Jittor."""

from typing import Any

from jittor_impl.models.detr.detector import DETR
from jittor_impl.models.gfocalv2.detector import GFocalV2
from jittor_impl.models.interface import Detector
from jittor_impl.models.nanodet.detector import NanoDetPlus
from jittor_impl.models.rtdetr.detector import RTDETR
from parity.errors import UserError

MODELS = {"detr": DETR, "gfocalv2": GFocalV2, "nanodet": NanoDetPlus, "rtdetr": RTDETR}


def build(model: str, options: dict[str, Any]) -> Detector:
    """A detector by name, from its resolved hyper-parameters (config/models/<model>.yaml, num_classes included)."""
    if model not in MODELS:
        raise UserError(f"model: {model} is unknown, expected one of {', '.join(MODELS)}")
    try:
        return MODELS[model](options)
    except KeyError as error:
        raise UserError(f"{model}: the option {error} is missing, see config/models/{model}.yaml") from error
