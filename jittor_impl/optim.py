"""AdamW and SGD with the semantics of torch.optim, clipping by global norm, moments as NumPy arrays.

Jittor's own optimisers count backward passes as steps, so that accumulation spoils Adam's bias correction, and they
decay parameters that no loss reaches. Here a parameter without gradient is left alone, as PyTorch does.
"""

import math
from typing import Any

import numpy as np

from jittor_impl import ops
from jittor_impl.runtime import jt
from jittor_impl.state import entries, parameters
from parity.errors import UserError
from parity.framework import Group

Var, nn = jt.Var, jt.nn
SLOTS = {"AdamW": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",)}


def clip_factor(gradients: list[Var], max_norm: float | None) -> tuple[float, float]:
    """(global L2 norm, factor that brings it down to `max_norm`): max_norm / (norm + 1e-6), at most 1."""
    squares = jt.fetch_sync([ops.square_sum(gradient) for gradient in gradients])
    norm = math.sqrt(sum(float(square[0]) for square in squares))
    return norm, 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))


class Optimizer:
    """AdamW (betas, eps) or SGD (momentum) over named groups.

    Raises UserError for an unknown kind and for groups that do not hold every trainable parameter exactly once.
    """

    def __init__(self, model: nn.Module, kind: str, groups: list[Group], **options):
        if kind not in SLOTS:
            raise UserError(f"optimizer kind: {kind} is unknown, expected {' or '.join(SLOTS)}")
        self.parameters = parameters(model)
        self.shapes = {name: entry.shape for name, entry in entries(model).items()}
        listed = [name for group in groups for name in group.names]
        wrong = sorted(set(listed) ^ set(self.parameters)) or sorted({n for n in listed if listed.count(n) > 1})
        if wrong:
            raise UserError(f"parameter groups: {wrong[0]} must be a trainable parameter and in exactly one group")
        self.kind, self.groups, self.steps, self.clip_norm = kind, groups, 0, None
        self.lrs = [group.lr for group in groups]
        self.betas, self.eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
        self.momentum = options.get("momentum", 0.0)
        self.moments: dict[str, list[Var]] = {}  # by parameter, in the order of SLOTS; from its first gradient on
        self.taken: dict[str, int] = {}  # steps by parameter

    def step(
        self, gradients: dict[str, Var], lrs: list[float], clip_norm: float | None, norm: bool = True
    ) -> tuple[float | None, float]:
        """Clip, then step with one learning rate per group. Returns (norm, factor) of the clipping.

        Without `norm` the norm is computed only where something clips.
        """
        self.lrs, self.clip_norm = list(lrs), clip_norm
        wanted = norm or clip_norm is not None
        before, factor = clip_factor(list(gradients.values()), clip_norm) if wanted else (None, 1.0)
        changed, tables = [], {}
        with jt.no_grad():
            for group, lr in zip(self.groups, self.lrs, strict=True):
                for name in group.names:
                    if name not in gradients:
                        continue
                    self.taken[name] = self.taken.get(name, 0) + 1
                    scalars = self._scalars(lr, group.weight_decay, self.taken[name], factor)
                    if scalars not in tables:
                        tables[scalars] = jt.array(scalars)
                    changed += self._update(name, gradients[name], scalars, tables[scalars])
        jt.sync(changed)
        self.steps += 1
        return before, factor

    def _scalars(self, lr: float, decay: float, step: int, factor: float) -> tuple[float, ...]:
        """In double precision, as PyTorch computes them."""
        if self.kind == "SGD":
            return lr, decay, self.momentum, factor
        beta1, beta2 = self.betas
        correction, rate = math.sqrt(1 - beta2**step), lr / (1 - beta1**step)
        return 1 - lr * decay, 1 - beta1, beta2, 1 - beta2, correction, self.eps, rate, factor

    def _update(self, name: str, gradient: Var, scalars: tuple[float, ...], table: Var) -> list[Var]:
        parameter = self.parameters[name]
        if name not in self.moments:
            self.moments[name] = [jt.zeros_like(parameter) for _ in SLOTS[self.kind]]
        update = ops.adamw if self.kind == "AdamW" else ops.sgd
        new, *self.moments[name] = update(parameter, gradient, *self.moments[name], scalars, table)
        parameter.assign(new.start_grad())
        return [parameter, *self.moments[name]]

    def settings(self) -> dict[str, Any]:
        """The optimiser's settings as they are now; see `Framework.optimizer_settings`."""
        options = {"betas": list(self.betas), "eps": self.eps} if self.kind == "AdamW" else {"momentum": self.momentum}
        groups = [
            {"names": list(group.names), "lr": lr, "weight_decay": group.weight_decay, **options}
            for group, lr in zip(self.groups, self.lrs, strict=True)
        ]
        return {"kind": self.kind, "groups": groups, "clip_norm": self.clip_norm}

    def state(self) -> dict[str, np.ndarray]:
        """`<parameter>/<slot>` and `step` [1].

        A parameter that some losses do not reach has taken fewer steps; Adam's bias correction needs to know, so it
        has `<parameter>/step` [1] too.
        """
        arrays = {"step": np.array([self.steps], np.int64)}
        for name in self.parameters:
            if name not in self.moments:
                continue
            for slot, moment in zip(SLOTS[self.kind], self.moments[name], strict=True):
                arrays[f"{name}/{slot}"] = moment.numpy().reshape(self.shapes[name]).copy()
            if self.kind == "AdamW" and self.taken[name] != self.steps:
                arrays[f"{name}/step"] = np.array([self.taken[name]], np.int64)
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned. Raises UserError for entries that do not belong to this optimiser."""
        known = {f"{name}/{slot}" for name in self.parameters for slot in (*SLOTS[self.kind], "step")} | {"step"}
        unknown = sorted(set(arrays) - known)
        if unknown or "step" not in arrays:
            raise UserError(f"optimizer state: {unknown[0] if unknown else 'step'} does not fit {self.kind}")
        self.steps, self.moments, self.taken = int(arrays["step"][0]), {}, {}
        for name in self.parameters:
            slots = {slot: arrays.get(f"{name}/{slot}") for slot in SLOTS[self.kind]}
            if any(array is None for array in slots.values()):
                continue  # never reached by a gradient
            for slot, array in slots.items():
                if array.shape != self.shapes[name]:
                    raise UserError(f"optimizer state: {name}/{slot} has shape {list(array.shape)}")
            self.moments[name] = [jt.array(np.asarray(array, np.float32)).stop_grad() for array in slots.values()]
            self.taken[name] = int(arrays.get(f"{name}/step", arrays["step"])[0])
