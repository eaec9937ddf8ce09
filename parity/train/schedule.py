"""Learning-rate factors and EMA decay as arrays and functions of the step: computed once, shared by every framework."""

import math

import numpy as np

from parity.config.train import EmaConfig, ScheduleConfig


def lr_factors(spec: ScheduleConfig, epochs: int, steps_per_epoch: int) -> np.ndarray:
    """float64 [epochs * steps_per_epoch]: the factor of every group's learning rate at each optimiser step.

    `kind`: "constant"; "multistep" (times `gamma` from each epoch of `milestones` on); "cosine" (from 1 to
    `final_factor`, falling with every step or, if `per` is "epoch", with every epoch). The first `warmup_steps` are
    multiplied by a line that starts at `warmup_factor` and would reach 1 one step later (GFocalV2). If `warmup_alone`,
    the line up to and including that 1 stands in place of the schedule (NanoDet-Plus), which matters where warming up
    takes more than the first epoch.
    """
    total = epochs * steps_per_epoch
    step = np.arange(total, dtype=np.float64)
    if spec.kind == "constant":
        factors = np.ones(total)
    elif spec.kind == "multistep":
        passed = sum((step // max(1, steps_per_epoch) >= milestone).astype(int) for milestone in spec.milestones)
        factors = float(spec.gamma) ** (np.zeros(total) + passed)
    else:
        final = float(spec.final_factor)
        done = step if spec.per == "step" else step // max(1, steps_per_epoch) * steps_per_epoch
        factors = final + (1 - final) * 0.5 * (1 + np.cos(np.pi * done / max(1, total)))
    warmup = spec.warmup_steps
    if warmup:
        first = float(spec.warmup_factor)
        line = first + (1 - first) * step[: warmup + 1] / warmup
        if spec.warmup_alone:
            factors[: warmup + 1] = line
        else:
            factors[:warmup] *= line[:warmup]
    return factors


def ema_decay(spec: EmaConfig, update: int) -> float:
    """Decay of the `update`-th average (counted from 1).

    decay * (1 - exp(-(update + offset) / warmups)), so that early averages follow the model. RT-DETR (official
    `ModelEMA`) has the offset 0. NanoDet-Plus (official `ExpMovingAverager`) has 1; it states the weight of the new
    value instead, decay * exp(-(1 + update) / 2000) + (1 - decay).
    """
    return spec.decay * (1 - math.exp(-(update + spec.offset) / spec.warmups))
