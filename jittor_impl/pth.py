"""Read `.pth` files where there is no PyTorch: `jittor.load` would unpickle them, `parity.weights.pth` never does."""

from pathlib import Path
from typing import Any

from parity.weights import pth


def read_pth(path: str | Path) -> Any:
    """The value in a `.pth`; tensors are objects whose `resolve()` is a NumPy array (`parity.weights.formats`).

    Raises UserError naming the file for whatever is no plain data.
    """
    return pth.read_pth(path)
