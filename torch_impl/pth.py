"""Read `.pth` files with PyTorch's own restricted loader, `torch.load(weights_only=True)`."""

import argparse
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parity.errors import UserError
from parity.weights.pickles import BFLOAT16, Later
from parity.weights.pth import check_archive

FAILURES = (
    *(pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError),
    *(AttributeError, AssertionError, OverflowError, MemoryError),
)


def read_pth(path: str | Path) -> Any:
    """The value in a `.pth` on the CPU; tensors become objects whose `resolve()` is a NumPy array (`formats.py`).

    The archive is looked at first (`check_archive`), because the loader itself would unpack a compressed one.
    Raises UserError naming the file for whatever cannot be loaded without running code.
    """
    check_archive(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # DETR keeps its arguments in its checkpoints
            return _arrays(torch.load(path, map_location="cpu", weights_only=True))
    except FAILURES as error:
        raise UserError(f"{path}: torch.load(weights_only=True) refuses it: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What is wrong, without PyTorch's advice on how to load the file all the same."""
    found = re.search(r"(?:WeightsUnpickler error: |Trying to load )(.*?)(?:\. |\.?\n|$)", str(error))
    lines = (found[1] if found else str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _arrays(value: Any) -> Any:
    """Dicts of tensors as dicts of arrays that are made when asked for."""
    if isinstance(value, dict):
        return {key: _arrays(entry) for key, entry in value.items()}
    return Later(lambda: to_numpy(value)) if isinstance(value, torch.Tensor) else value


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Values of a tensor with all their bits; bfloat16 as `BFLOAT16`."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16)
    return tensor.numpy()
