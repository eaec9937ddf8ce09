"""Mistakes that ports really make, each planted in the second framework through its `Framework`, never in a model.

A fault is a subclass of any framework, so that the same list is planted in PyTorch, in Jittor and in the NumPy
stand-in. Faults of the model itself are planted as a wrong option: the model is built from other hyper-parameters than
the configuration says.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.framework import Framework, Group


@dataclass(frozen=True)
class Fault:
    """One mistake.

    name    what is wrong, in words
    plant   takes a framework's class, returns one with the mistake
    named   a part of the message that names the cause, or several of which one is enough
    rung    the lowest rung that should fail
    models  models it makes sense for; "numpy" is the stand-in
    """

    name: str
    plant: Callable[[type[Framework]], type[Framework]]
    rung: int
    named: tuple[str, ...]
    models: tuple[str, ...]


def method(name: str, body: Callable[..., Any]) -> Callable[[type[Framework]], type[Framework]]:
    """Replace one method; `body` is called with the original, the framework and the arguments."""

    def plant(base: type[Framework]) -> type[Framework]:
        def call(self, *args, **kwargs):
            return body(lambda *a, **k: getattr(base, name)(self, *a, **k), self, *args, **kwargs)

        return type("Mistaken", (base,), {name: call})

    return plant


def option(path: str, value: Any) -> Callable[[type[Framework]], type[Framework]]:
    """Build the model with another option than the configuration's; `path` may have a dot."""

    def build(original, self, model, options):
        options = dict(options)
        first, _, rest = path.partition(".")
        options[first] = {**options[first], rest: value} if rest else value
        return original(model, options)

    return method("build", build)


def groups(change: Callable[[list[Group]], list[Group]]) -> Callable[[type[Framework]], type[Framework]]:
    return method(
        "make_optimizer", lambda original, self, kind, given, **options: original(kind, change(given), **options)
    )


def optimizer(**changed: Any) -> Callable[[type[Framework]], type[Framework]]:
    return method(
        "make_optimizer", lambda original, self, kind, given, **options: original(kind, given, **options | changed)
    )


def gradient(change: Callable[[dict], dict]) -> Callable[[type[Framework]], type[Framework]]:
    """Change the gradients after every backward pass."""

    def backward(original, self, *args, **kwargs):
        result = original(*args, **kwargs)
        self.set_gradients(change(self.gradients()))
        return result

    return method("forward_backward", backward)


def targets(change: Callable[[Any], dict]) -> Callable[[type[Framework]], type[Framework]]:
    """Change the targets of every training batch."""
    return method(
        "forward_backward",
        lambda original, self, batch, *args, **kwargs: original(replace(batch, **change(batch)), *args, **kwargs),
    )


def images(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[type[Framework]], type[Framework]]:
    """Change the pixels of every batch on their way into the framework."""
    return method("to_device", lambda original, self, batch: original(replace(batch, images=change(batch.images))))


def detections(change: Callable[[Any], Any]) -> Callable[[type[Framework]], type[Framework]]:
    return method("postprocess", lambda original, self, *args: [change(found) for found in original(*args)])


def _late(original, self, lrs, clip_norm):
    late, self.rates = getattr(self, "rates", lrs), lrs
    return original(late, clip_norm)


def _without_statistics(original, self, decay):
    before = self.ema_state()
    original(decay)
    self.load_ema(self.ema_state() | {name: value for name, value in before.items() if ".running_" in name})


def _average_unused(base):
    @contextmanager
    def ema_weights(self):
        yield

    return type("Mistaken", (base,), {"ema_weights": ema_weights})


def _first(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], dict]:
    """Change the last parameter's gradient only."""
    return lambda found: found | {name: change(found[name]) for name in list(found)[-1:]}


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1) if len(boxes) else boxes


def _flat_decay(given: list[Group]) -> list[Group]:
    return [replace(group, weight_decay=0.01) for group in given]


EVERYWHERE, TRAINED = ("numpy", "rtdetr"), ("rtdetr",)
STEP = ("delta",)

FAULTS = [
    Fault("learning rate one step late", method("optimizer_step", _late), 7, STEP, EVERYWHERE),
    Fault(
        "learning rates of the groups exchanged",
        method("optimizer_step", lambda f, self, lrs, clip: f(lrs[::-1], clip)),
        7,
        STEP,
        ("numpy",),
    ),
    Fault(
        "no clipping", method("optimizer_step", lambda f, self, lrs, clip: f(lrs, None)), 7, ("step_clip",), EVERYWHERE
    ),
    Fault(
        "clipping norm twice as large",
        method("optimizer_step", lambda f, self, lrs, clip: f(lrs, clip and 2 * clip)),
        7,
        ("step_clip",),
        EVERYWHERE,
    ),
    Fault(
        "weight decay forgotten", groups(lambda g: [replace(x, weight_decay=0.0) for x in g]), 7, ("decay",), TRAINED
    ),
    Fault("weight decay on norms and biases", groups(_flat_decay), 7, ("decay",), TRAINED),
    Fault("second beta 0.99", optimizer(betas=(0.9, 0.99)), 7, ("moment", "delta"), TRAINED),
    Fault("first beta 0.8", optimizer(betas=(0.8, 0.999)), 7, ("moment", "delta"), TRAINED),
    Fault("epsilon of Adam 1e-6", optimizer(eps=1e-6), 7, STEP, TRAINED),
    Fault("average never updated", method("update_ema", lambda f, self, decay: None), 7, ("ema",), EVERYWHERE),
    Fault(
        "average's decay off by one percent",
        method("update_ema", lambda f, self, d: f(0.99 * d)),
        7,
        ("ema",),
        EVERYWHERE,
    ),
    Fault("average without BatchNorm's statistics", method("update_ema", _without_statistics), 7, ("ema",), EVERYWHERE),
    Fault("average not used in evaluation", _average_unused, 7, ("evaluated with the average",), EVERYWHERE),
    Fault(
        "one parameter's gradient 2 % too large",
        gradient(_first(lambda g: 1.02 * g)),
        6,
        ("score.", "decoder."),
        EVERYWHERE,
    ),
    Fault(
        "one parameter's gradient with the wrong sign",
        gradient(_first(lambda g: -g)),
        6,
        ("score.", "decoder."),
        EVERYWHERE,
    ),
    Fault(
        "one parameter detached", gradient(lambda g: dict(list(g.items())[:-1])), 6, ("has a gradient in",), EVERYWHERE
    ),
    Fault(
        "gradients not divided by the accumulated batches",
        method(
            "forward_backward",
            lambda f, self, batch, draws, epoch, scale=1.0, extras=False: f(batch, draws, epoch, 1.0, extras),
        ),
        9,
        ("from the same state", "median over the anchors"),
        ("numpy",),
    ),
    Fault(
        "boxes as width and height in the targets",
        targets(lambda b: {"boxes": _xywh(b.boxes)}),
        5,
        ("loss", "total"),
        EVERYWHERE,
    ),
    Fault(
        "labels exchanged in the targets",
        targets(lambda b: {"labels": b.labels[::-1].copy()}),
        5,
        ("loss", "total"),
        TRAINED,
    ),
    Fault(
        "boxes as width and height in the detections",
        detections(lambda d: replace(d, boxes=_xywh(d.boxes))),
        4,
        ("without a partner",),
        EVERYWHERE,
    ),
    Fault(
        "labels of detections off by one",
        detections(lambda d: replace(d, labels=d.labels + 1)),
        4,
        ("without a partner",),
        EVERYWHERE,
    ),
    Fault(
        "last detection dropped",
        detections(lambda d: replace(d, boxes=d.boxes[:-1], scores=d.scores[:-1], labels=d.labels[:-1])),
        4,
        ("detections and",),
        EVERYWHERE,
    ),
    Fault(
        "scores as square roots",
        detections(lambda d: replace(d, scores=np.sqrt(np.abs(d.scores)))),
        4,
        ("without a partner",),
        EVERYWHERE,
    ),
    Fault("channels in the order BGR", images(lambda x: x[:, ::-1].copy()), 3, ("backbone.conv1.conv1_1",), TRAINED),
    Fault("pixels not divided by 255", images(lambda x: 255 * x), 3, ("backbone.conv1.conv1_1",), TRAINED),
    Fault("loss weight of the box 4 for 5", option("loss_weights.bbox", 4.0), 5, ("loss", "total"), TRAINED),
    Fault("loss weight of GIoU 1 for 2", option("loss_weights.giou", 1.0), 5, ("loss", "total"), TRAINED),
    Fault("focal alpha 0.25 for 0.75", option("focal_alpha", 0.25), 5, ("loss_vfl",), TRAINED),
    Fault("focal gamma 2 for 1", option("focal_gamma", 2.0), 5, ("loss_vfl",), TRAINED),
    Fault("matching cost of the class 1 for 2", option("match_costs.class", 1.0), 5, ("match",), TRAINED),
    Fault("matching cost of the box 1 for 5", option("match_costs.bbox", 1.0), 5, ("match",), TRAINED),
    Fault("box noise of denoising 0.4 for 1", option("box_noise_scale", 0.4), 5, ("dn",), TRAINED),
    Fault("label noise of denoising 0.2 for 0.5", option("label_noise_ratio", 0.2), 5, ("dn",), TRAINED),
    Fault(
        "temperature of the position table 20 for 10 000",
        option("pe_temperature", 20),
        3,
        ("encoder.encoder.0",),
        TRAINED,
    ),
    Fault("4 attention heads for 8 in the encoder", option("encoder_heads", 4), 3, ("self_attn",), TRAINED),
]
