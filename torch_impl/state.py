"""A model's state as NumPy arrays under official names, and back."""

import numpy as np
import torch
from torch import Tensor, nn

from parity.errors import UserError
from parity.framework import TensorInfo


def describe(model: nn.Module) -> list[TensorInfo]:
    """Every entry of the state dict in its order."""
    parameters = dict(model.named_parameters())
    infos = []
    for name, tensor in model.state_dict().items():
        kind = "buffer"
        if name in parameters:
            kind = "parameter" if parameters[name].requires_grad else "frozen"
        infos.append(TensorInfo(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), kind))
    return infos


def to_arrays(values: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies, on the CPU."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in values.items()}


def copy_into(tensors: dict[str, Tensor], arrays: dict[str, np.ndarray], what: str) -> None:
    """Overwrite `tensors` with `arrays`, both complete. Floating types may differ in width.

    Raises UserError naming the first missing, unknown, wrongly shaped or wrongly typed entry, before anything is
    written; `what` names the arrays in it.
    """
    missing = [name for name in tensors if name not in arrays]
    if missing:
        raise UserError(f"{what}: {missing[0]} is missing, and {len(missing) - 1} more of {len(tensors)} entries")
    unknown = [name for name in arrays if name not in tensors]
    if unknown:
        raise UserError(f"{what}: {unknown[0]} is not an entry of the model, and {len(unknown) - 1} more are not")
    for name, tensor in tensors.items():
        array = arrays[name]
        if tuple(array.shape) != tuple(tensor.shape):
            raise UserError(f"{what}: {name} has shape {list(array.shape)}, the model needs {list(tensor.shape)}")
        if (np.asarray(array).dtype.kind == "f") != tensor.dtype.is_floating_point:
            raise UserError(f"{what}: {name} is {array.dtype}, the model needs {str(tensor.dtype)[6:]}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(np.array(arrays[name])))
