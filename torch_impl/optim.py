"""torch.optim behind parameter names: groups, clipping by global norm, moments as NumPy arrays."""

from typing import Any

import numpy as np
import torch
from torch import nn

from parity.errors import UserError
from parity.framework import Group

SLOTS = {"AdamW": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",)}
OPTIONS = {"AdamW": ("betas", "eps"), "SGD": ("momentum",)}  # of a group, beside its learning rate and its decay


def clip_gradients(parameters: list[nn.Parameter], max_norm: float | None) -> tuple[float, float]:
    """Scale all gradients by one factor so that their global L2 norm is at most `max_norm`.

    Returns (norm before, factor). The factor is max_norm / (norm + 1e-6), at most 1, as torch.nn.utils computes it.
    That adds the squares in float32 and was up to 5e-6 off for 20 million parameters; here they are added in float64.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0, 1.0
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if max_norm is None:
        return float(norm), 1.0
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return float(norm), float(factor)


class Optimizer:
    """AdamW (betas, eps) or SGD (momentum) over named groups.

    Gradients are cleared before the first backward pass of the next step, as the official codes do. If they were
    cleared right after the step, they would be free memory during the next forward pass. The C library would give it
    back to the system, and every page would cost a fault when the gradients are made again.

    fused: let one kernel update all parameters, and torch.nn.utils clip: as a good user would run it, for measuring
    speed. The last bits then differ from those of the plain loop.
    Raises UserError for an unknown kind and for groups that do not hold every trainable parameter exactly once.
    """

    def __init__(self, model: nn.Module, kind: str, groups: list[Group], fused: bool = False, **options):
        if kind not in SLOTS:
            raise UserError(f"optimizer kind: {kind} is unknown, expected {' or '.join(SLOTS)}")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        listed = [name for group in groups for name in group.names]
        wrong = sorted(set(listed) ^ set(self.parameters)) or sorted({n for n in listed if listed.count(n) > 1})
        if wrong:
            raise UserError(f"parameter groups: {wrong[0]} must be a trainable parameter and in exactly one group")
        self.kind, self.fused, self.steps, self.clip_norm = kind, fused, 0, None
        self.used = False  # whether a step has taken the gradients that are still there
        settings = [
            {"params": [self.parameters[n] for n in g.names], "lr": g.lr, "weight_decay": g.weight_decay}
            for g in groups
        ]
        if kind == "AdamW":
            options["betas"] = tuple(options["betas"])
        self.torch = getattr(torch.optim, kind)(settings, fused=fused or None, **options)

    def step(self, lrs: list[float], clip_norm: float | None, norm: bool = True) -> tuple[float | None, float]:
        """Clip and step with one learning rate per group. Returns (norm, factor) of the clipping.

        Without `norm` the norm is computed only where something clips. The gradients are there until `clear`.
        """
        self.clip_norm = clip_norm
        if self.fused and clip_norm is not None:
            before = float(nn.utils.clip_grad_norm_(self.parameters.values(), clip_norm))
            clipped = before, min(clip_norm / (before + 1e-6), 1.0)
        elif norm or clip_norm is not None:
            clipped = clip_gradients(list(self.parameters.values()), clip_norm)
        else:
            clipped = (None, 1.0)
        for group, lr in zip(self.torch.param_groups, lrs, strict=True):
            group["lr"] = lr
        self.torch.step()
        self.steps, self.used = self.steps + 1, True
        return clipped

    def clear(self) -> None:
        """Forget gradients that a step has taken; those of a step that is not complete stay."""
        if self.used:
            self.torch.zero_grad(set_to_none=True)
            self.used = False

    def settings(self) -> dict[str, Any]:
        """The optimiser's settings as they are now; see `Framework.optimizer_settings`."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        groups = []
        for group in self.torch.param_groups:
            options = {key: group[key] for key in ("lr", "weight_decay", *OPTIONS[self.kind])}
            options = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
            groups.append({"names": [names[id(parameter)] for parameter in group["params"]], **options})
        return {"kind": type(self.torch).__name__, "groups": groups, "clip_norm": self.clip_norm}

    def state(self) -> dict[str, np.ndarray]:
        """`<parameter>/<slot>` and `step` [1].

        A parameter that some losses do not reach has taken fewer steps; Adam's bias correction needs to know, so it
        has `<parameter>/step` [1] too.
        """
        arrays = {"step": np.array([self.steps], np.int64)}
        for name, parameter in self.parameters.items():
            state = self.torch.state.get(parameter, {})
            for slot in SLOTS[self.kind]:
                if state.get(slot) is not None:
                    arrays[f"{name}/{slot}"] = state[slot].detach().cpu().numpy().copy()
            if "step" in state and int(state["step"]) != self.steps:
                arrays[f"{name}/step"] = np.array([int(state["step"])], np.int64)
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned. Raises UserError for entries that do not belong to this optimiser."""
        known = {f"{name}/{slot}" for name in self.parameters for slot in (*SLOTS[self.kind], "step")} | {"step"}
        unknown = sorted(set(arrays) - known)
        if unknown or "step" not in arrays:
            raise UserError(f"optimizer state: {unknown[0] if unknown else 'step'} does not fit {self.kind}")
        self.steps = int(arrays["step"][0])
        self.torch.state.clear()
        for name, parameter in self.parameters.items():
            slots = {slot: arrays.get(f"{name}/{slot}") for slot in SLOTS[self.kind]}
            if any(array is None for array in slots.values()):
                continue  # never reached by a gradient
            for slot, array in slots.items():
                if array.shape != tuple(parameter.shape):
                    raise UserError(f"optimizer state: {name}/{slot} has shape {list(array.shape)}")
                self.torch.state[parameter][slot] = torch.from_numpy(np.array(array)).to(parameter)
            if self.kind == "AdamW":
                steps = arrays.get(f"{name}/step", arrays["step"])
                self.torch.state[parameter]["step"] = torch.tensor(float(steps[0]))
