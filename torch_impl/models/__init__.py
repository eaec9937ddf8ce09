"""The detectors in PyTorch."""

from typing import Any

from parity.errors import UserError
from torch_impl.models.detr.detector import DETR
from torch_impl.models.gfocalv2.detector import GFocalV2
from torch_impl.models.interface import Detector
from torch_impl.models.nanodet.detector import NanoDetPlus
from torch_impl.models.rtdetr.detector import RTDETR

MODELS = {"detr": DETR, "gfocalv2": GFocalV2, "nanodet": NanoDetPlus, "rtdetr": RTDETR}


def build(model: str, options: dict[str, Any]) -> Detector:
    """A detector by name, from its resolved hyper-parameters (config/models/<model>.yaml, num_classes included)."""
    if model not in MODELS:
        raise UserError(f"model: {model} is unknown, expected one of {', '.join(MODELS)}")
    try:
        return MODELS[model](options)
    except KeyError as error:
        raise UserError(f"{model}: the option {error} is missing, see config/models/{model}.yaml") from error
