"""Optimiser parameter groups from patterns over official parameter names."""

import re

from parity.config.train import GroupConfig
from parity.errors import UserError
from parity.framework import Group, TensorInfo


def parameter_groups(
    tensors: list[TensorInfo], patterns: list[GroupConfig], lr: float, weight_decay: float
) -> list[Group]:
    """One group per pattern and a last one for the rest; frozen parameters and buffers are in none.

    A pattern is searched for in the name (`re.search`) and may override `lr` and `weight_decay`. As in the official
    RT-DETR optimiser, a parameter that matches two patterns is an error. Empty groups are kept out.
    """
    trainable = [tensor.name for tensor in tensors if tensor.kind == "parameter"]
    taken: dict[str, str] = {}
    groups = []
    for spec in patterns:
        names = [name for name in trainable if re.search(spec.pattern, name)]
        for name in names:
            if name in taken:
                raise UserError(
                    f"groups: {name} matches both {taken[name]!r} and {spec.pattern!r}, expected at most one"
                )
            taken[name] = spec.pattern
        own_lr = lr if spec.lr is None else spec.lr
        own_decay = weight_decay if spec.weight_decay is None else spec.weight_decay
        groups.append(Group(names, float(own_lr), float(own_decay)))
    groups.append(Group([name for name in trainable if name not in taken], float(lr), float(weight_decay)))
    return [group for group in groups if group.names]
