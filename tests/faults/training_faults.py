"""Mistakes in gradients, optimiser, rates, average and targets."""

from contextlib import contextmanager
from dataclasses import replace as changed
from typing import Any

import numpy as np
from detection_faults import xywh
from model_faults import D, G, N, R, jittor
from planting import Fault, gradient, groups, method, operator, optimizer, replaced, targets

STEP = ("/delta ",)


def _late(original, self, lrs, clip_norm):
    late, self.rates = getattr(self, "rates", lrs), lrs
    return original(late, clip_norm)


def _without_statistics(original, self, decay):
    before = self.ema_state()
    original(decay)
    self.load_ema(self.ema_state() | {name: value for name, value in before.items() if ".running_" in name})


def _copied_statistics(original, self, decay):
    original(decay)
    self.load_ema(self.ema_state() | {name: value for name, value in self.state().items() if ".running_" in name})


def _not_counted(original, self, *args, **kwargs):
    """The batches that BatchNorm has counted stay at their number."""
    before = {name: value for name, value in self.state().items() if name.endswith("num_batches_tracked")}
    result = original(*args, **kwargs)
    self.load_state(self.state() | before)
    return result


@contextmanager
def _unused(original, self):
    yield


def _last_weight(found: dict) -> str:
    """The parameter whose gradient is changed."""
    return [name for name in found if name.endswith(".weight")][-1]


def _last(change):
    """Change the gradient of the last weight only."""
    return lambda found: found | {_last_weight(found): change(found[_last_weight(found)])}


def _clipped_before(original, self, *args, **kwargs):
    """Every batch's gradient clipped to a norm of 0.1 by itself, before they are added."""
    before = self.gradients()
    result = original(*args, **kwargs)
    own = {name: value - before.get(name, 0) for name, value in self.gradients().items()}
    norm = np.sqrt(sum(float(np.square(value, dtype=np.float64).sum()) for value in own.values()))
    factor = np.float32(min(1.0, 0.1 / (norm + 1e-6)))
    self.set_gradients({name: before.get(name, 0) + factor * value for name, value in own.items()})
    return result


def _each_clipped(f):
    """Every parameter's gradient clipped by itself; what is reported stays right."""

    def step(self, gradients, lrs, clip_norm, norm=True):
        if clip_norm is None:
            return f(self, gradients, lrs, clip_norm, norm)
        from jittor_impl.optim import clip_factor

        told = clip_factor(list(gradients.values()), clip_norm)
        own = {name: value * clip_factor([value], clip_norm)[1] for name, value in gradients.items()}
        f(self, own, lrs, None, norm)
        return told

    return step


def _scalars(change):
    """Change the numbers of AdamW's step: see `ops.adamw`."""
    return replaced(
        "optim:Optimizer._scalars",
        lambda f: lambda self, lr, decay, step, factor: change(f, self, lr, decay, step, factor),
    )


def _decay_without_rate(f, self, lr, decay, step, factor):
    return (1 - decay, *f(self, lr, decay, step, factor)[1:])


def _coupled(f):
    """Weight decay added to the gradient, as Adam without W does."""

    def step(self, gradients, lrs, clip_norm, norm=True):
        kept = self.groups
        decays = {name: group.weight_decay for group in kept for name in group.names}
        gradients = {name: value + decays[name] * self.parameters[name] for name, value in gradients.items()}
        self.groups = [changed(group, weight_decay=0.0) for group in kept]
        try:
            return f(self, gradients, lrs, clip_norm, norm)
        finally:
            self.groups = kept

    return step


def _adamw(change):
    """AdamW whose step `change(m, v, eps, rate, correction)` is another one; `v` is not corrected for its bias yet."""

    def make(f):
        def adamw(p, g, m, v, scalars, table):
            decay, one_less_beta1, beta2, one_less_beta2, correction, eps, rate, clip = scalars
            g = g * clip
            m = m + (g - m) * one_less_beta1
            v = v * beta2 + g * g * one_less_beta2
            return [p * decay - change(m, v, eps, rate, correction), m, v]

        return adamw

    return make


def _inside_root(m, v, eps, rate, correction):
    return m / jittor().sqrt(v / correction**2 + eps) * rate


def _before_correction(m, v, eps, rate, correction):
    """Epsilon added to the root before the bias is corrected."""
    return m / (jittor().sqrt(v) + eps) * (rate * correction)


def _nesterov(f):
    def sgd(p, g, buffer, scalars, table):
        lr, decay, momentum, clip = scalars
        g = g * clip + p * decay
        buffer = buffer * momentum + g
        return [p - (g + buffer * momentum) * lr, buffer]

    return sgd


def _dampened(f):
    def sgd(p, g, buffer, scalars, table):
        lr, decay, momentum, clip = scalars
        buffer = buffer * momentum + (g * clip + p * decay) * (1 - momentum)
        return [p - buffer * lr, buffer]

    return sgd


def _one_step_late(f):
    def factors(spec, epochs, steps_per_epoch):
        right = f(spec, epochs, steps_per_epoch)
        return np.concatenate([right[:1], right[:-1]])

    return factors


def _by_epoch(f):
    def factors(spec, epochs, steps_per_epoch):
        return np.repeat(f(spec, epochs, steps_per_epoch)[::steps_per_epoch], steps_per_epoch)

    return factors


def _flat_decay(given: list) -> list:
    return [changed(group, weight_decay=0.01) for group in given]


def _unscaled(original, self, batch: Any, draws: Any, epoch: int, scale: float = 1.0, extras: bool = False):
    return original(batch, draws, epoch, 1.0, extras)


def _mask(shape: Any) -> np.ndarray:
    return (np.random.default_rng(0).random(tuple(shape)) >= 0.1).astype(np.float32)


# The last weight of every model, see `_last_weight`.
PARAMETER = (r"score\.weight", r"encoder\.pan_blocks\.1\.conv3\.norm\.weight", r"layer4\.1\.bn2\.weight")
PARAMETER += (r"bbox_head\.reg_conf\.2\.weight", r"aux_head\.\S*\.weight")

TRAINING = [
    Fault("learning rate one step late", method("optimizer_step", _late), STEP, ("numpy", R, G), probe="steps"),
    Fault(
        "learning rates of the groups exchanged",
        method("optimizer_step", lambda f, self, lrs, clip: f([*lrs[1:], lrs[0]], clip)),
        STEP,
        ("numpy", R, D),
        probe="steps",
    ),
    Fault(
        "warm-up off by one step",
        replaced("parity.align.probe:lr_factors", _one_step_late),
        ("learning rate",),
        (R,),
        probe="steps",
    ),
    Fault(
        "schedule by epoch for by step",
        replaced("parity.align.probe:lr_factors", _by_epoch),
        ("learning rate",),
        (D,),
        probe="steps",
    ),
    Fault(
        "no clipping", method("optimizer_step", lambda f, self, lrs, clip: f(lrs, None)), ("step_clip",), ("numpy", R)
    ),
    Fault(
        "clipping norm twice as large",
        method("optimizer_step", lambda f, self, lrs, clip: f(lrs, clip and 2 * clip)),
        ("step_clip",),
        ("numpy", D),
    ),
    Fault("every parameter clipped by itself", replaced("optim:Optimizer.step", _each_clipped), STEP, (R,)),
    Fault(
        "clipping before the batches are added",
        method("forward_backward", _clipped_before),
        ("grad of ",),
        (N,),
        probe="whole",
    ),
    Fault(
        "gradients not divided by the accumulated batches",
        method("forward_backward", _unscaled),
        ("grad of ",),
        ("numpy", N),
        probe="whole",
    ),
    Fault("weight decay forgotten", groups(lambda g: [changed(x, weight_decay=0.0) for x in g]), ("decay ",), (R, D)),
    Fault("weight decay on norms and biases", groups(_flat_decay), ("decay ",), (R,)),
    Fault(
        "weight decay in the gradient (Adam for AdamW)",
        replaced("optim:Optimizer.step", _coupled),
        ("decay ",),
        (R,),
    ),
    Fault("weight decay without the rate", _scalars(_decay_without_rate), ("decay ",), (N,)),
    Fault("second beta 0.99", optimizer(betas=(0.9, 0.99)), ("/exp_avg_sq",), (R,)),
    Fault("first beta 0.8", optimizer(betas=(0.8, 0.999)), (r"/exp_avg\b(?!_)",), (R,)),
    Fault("epsilon of Adam 1e-6", optimizer(eps=1e-6), STEP, (R,)),
    Fault("epsilon inside the root", operator("optim", "adamw", _adamw(_inside_root)), STEP, (R,)),
    Fault(
        "epsilon added before the bias correction", operator("optim", "adamw", _adamw(_before_correction)), STEP, (D,)
    ),
    Fault(
        "no bias correction",
        _scalars(lambda f, self, lr, decay, step, factor: f(self, lr, decay, 10**9, factor)),
        STEP,
        (R,),
        probe="steps",
    ),
    Fault("momentum 0.8", optimizer(momentum=0.8), ("/momentum_buffer",), (G,), probe="steps"),
    Fault("Nesterov's momentum", operator("optim", "sgd", _nesterov), STEP, (G,), probe="steps"),
    Fault("momentum with dampening", operator("optim", "sgd", _dampened), ("/momentum_buffer",), (G,), probe="steps"),
    Fault(
        "average never updated",
        method("update_ema", lambda f, self, decay: None),
        ("/ema ",),
        ("numpy", R),
        probe="steps",
    ),
    Fault(
        "average's decay off by one percent",
        method("update_ema", lambda f, self, d: f(0.99 * d)),
        ("/ema ",),
        ("numpy", R),
        probe="steps",
    ),
    Fault(
        "average without its warm-up", method("update_ema", lambda f, self, d: f(0.9)), ("/ema ",), (N,), probe="steps"
    ),
    Fault(
        "average without BatchNorm's statistics",
        method("update_ema", _without_statistics),
        (r"/ema \S*running_",),
        ("numpy", R),
        probe="steps",
    ),
    Fault(
        "statistics copied into the average",
        method("update_ema", _copied_statistics),
        (r"/ema \S*running_",),
        (N,),
        probe="steps",
    ),
    Fault(
        "counters of batches not averaged",
        method("start_ema", lambda f, self, integers=False: f(False)),
        (r"/ema \S*num_batches_tracked",),
        (N,),
        probe="steps",
    ),
    Fault(
        "batches not counted", method("forward_backward", _not_counted), (r"/buffer \S*num_batches_tracked",), (R, N)
    ),
    Fault(
        "average not used in evaluation",
        method("ema_weights", _unused),
        ("evaluated with the average",),
        ("numpy", R),
        probe="steps",
    ),
    Fault(
        "one parameter's gradient 2 % too large",
        gradient(_last(lambda g: 1.02 * g)),
        PARAMETER,
        ("numpy", R, D, G, N),
        probe="steps",
    ),
    Fault(
        "one parameter's gradient with the wrong sign",
        gradient(_last(lambda g: -g)),
        PARAMETER,
        ("numpy", N),
        probe="steps",
    ),
    Fault(
        "one parameter detached",
        gradient(lambda g: {name: value for name, value in g.items() if name != _last_weight(g)}),
        (r"(score|reg_conf\.2)\.weight: has a gradient in",),
        ("numpy", G),
        probe="steps",
    ),
    Fault(
        "boxes as corner and size in the targets",
        targets(lambda b: {"boxes": xywh(b.boxes)}),
        ("loss_b?box",),
        ("numpy", R),
    ),
    Fault("labels exchanged in the targets", targets(lambda b: {"labels": b.labels[::-1].copy()}), ("loss_ce",), (D,)),
    Fault(
        "dropout left on in evaluation",
        replaced(
            "layers:Dropout.execute",
            lambda f: lambda self, x: x * jittor().array(_mask(x.shape)) / 0.9 if self.p else x,
        ),
        (r"encoder\.layers\.0\.(self_attn|dropout)",),
        (D,),
    ),
    Fault(
        "dropout not divided by what is kept",
        replaced(
            "layers:Dropout.execute",
            lambda f: lambda self, x: f(self, x) * (0.9 if self.is_training() and self.p else 1),
        ),
        (r"first module that differs is \S*(self_attn|dropout)",),
        (D,),
    ),
]
