"""Read `.pth` files where there is no PyTorch: `jittor.load` would unpickle them, `parity.pth` never does."""

from pathlib import Path
from typing import Any

from parity import pth


def read_pth(path: str | Path) -> Any:
    """The value in a `.pth`; tensors are objects whose `resolve()` is a NumPy array (`parity.weights`).

    Raises UserError naming the file for whatever is no plain data.
    """
    return pth.read_pth(path)
