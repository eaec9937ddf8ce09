"""A third framework, in NumPy: small enough to compute by hand, complete enough for the whole engine.

Its detector has two parameters: a box and one score per class. The loss pulls both towards the mean of the targets.
"""

from contextlib import contextmanager

import numpy as np

from parity.errors import UserError
from parity.framework import Detections, Framework, StepResult, TensorInfo


class NumpyFramework(Framework):
    name = "numpy"

    def __init__(self, device="cpu", threads=None, options=None):
        self.values, self.grads, self.moments, self.ema = {}, {}, {}, None
        self.threads, self.clip_norm = threads or 1, None
        self.seen = []  # image ids of every batch, for tests

    def versions(self):
        return {"numpy": np.__version__}

    def seed(self, seed):
        self.seeded = seed

    def build(self, model, options):
        self.classes = options["num_classes"]
        self.values = {"box.weight": np.zeros(4, np.float32), "score.weight": np.zeros(self.classes, np.float32)}
        self.values["norm.running_mean"] = np.zeros(2, np.float32)

    def tensors(self):
        kinds = {"norm.running_mean": "buffer"}
        return [TensorInfo(k, v.shape, str(v.dtype), kinds.get(k, "parameter")) for k, v in self.values.items()]

    def state(self):
        return {k: v.copy() for k, v in self.values.items()}

    def load_state(self, arrays):
        for name in self.values.keys() - arrays.keys():
            raise UserError(f"weights: {name} is missing")
        for name in arrays.keys() - self.values.keys():
            raise UserError(f"weights: {name} is not an entry of the model")
        for name, value in self.values.items():
            if arrays[name].shape != value.shape:
                raise UserError(f"weights: {name} has shape {list(arrays[name].shape)}")
            if arrays[name].dtype.kind != "f":
                raise UserError(f"weights: {name} is {arrays[name].dtype}")
        self.values = {k: arrays[k].copy() for k in self.values}

    def make_optimizer(self, kind, groups, **options):
        self.kind, self.momentum = kind, options.get("momentum", 0.9)
        self.groups, self.grads, self.lrs = groups, {}, [group.lr for group in groups]
        self.moments = {name: np.zeros_like(self.values[name]) for group in groups for name in group.names}
        self.steps = 0

    def forward_backward(self, batch, draws, epoch, scale=1.0, extras=False):
        self.seen.append([] if batch.image_ids is None else [int(i) for i in batch.image_ids])
        sides = np.tile(batch.sizes[:, ::-1].mean(0), 2).astype(np.float32)
        target = (batch.boxes / sides).mean(0) if len(batch.boxes) else np.full(4, 0.5, np.float32)
        target = target + 0.01 * (draws.uniform((4,)) - 0.5)
        counts = np.bincount(batch.labels, minlength=self.classes).astype(np.float32) / max(1, len(batch.labels))
        box, score = self.values["box.weight"] - target, self.values["score.weight"] - counts
        losses = {"loss_box": float((box**2).sum()), "loss_score": float((score**2).sum())}
        for name, gradient in (("box.weight", 2 * box), ("score.weight", 2 * score)):
            self.grads[name] = self.grads.get(name, 0) + np.float32(scale) * gradient
        self.values["norm.running_mean"] += np.float32(0.1) * (target[:2] - self.values["norm.running_mean"])
        return StepResult(losses, sum(losses.values()))

    def optimizer_step(self, lrs, clip_norm, norm=True):
        self.lrs, self.clip_norm = list(lrs), clip_norm
        size = float(np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in self.grads.values())))
        clip = min(1.0, clip_norm / (size + 1e-6)) if clip_norm else 1.0
        for group, lr in zip(self.groups, self.lrs, strict=True):
            for name in group.names:
                if name not in self.grads:
                    continue
                self.moments[name] = (
                    np.float32(self.momentum) * self.moments[name] + np.float32(clip) * self.grads[name]
                )
                self.values[name] = self.values[name] - np.float32(lr) * self.moments[name]
        self.grads, self.steps = {}, self.steps + 1
        return size if norm or clip_norm else None, clip

    def optimizer_settings(self):
        groups = [
            {"names": g.names, "lr": lr, "weight_decay": g.weight_decay, "momentum": self.momentum}
            for g, lr in zip(self.groups, self.lrs, strict=True)
        ]
        return {"kind": self.kind, "groups": groups, "clip_norm": self.clip_norm}

    def gradients(self):
        return dict(self.grads)

    def set_gradients(self, arrays):
        self.grads = dict(arrays)

    def optimizer_state(self):
        return {f"{k}/momentum_buffer": v.copy() for k, v in self.moments.items()} | {"step": np.array([self.steps])}

    def load_optimizer_state(self, arrays):
        self.moments = {k.removesuffix("/momentum_buffer"): v for k, v in arrays.items() if k != "step"}
        self.steps = int(arrays["step"][0])

    def start_ema(self, integers=False):
        self.ema = self.state()

    def update_ema(self, decay):
        self.ema = {k: np.float32(decay) * v + np.float32(1 - decay) * self.values[k] for k, v in self.ema.items()}

    def ema_state(self):
        return {k: v.copy() for k, v in self.ema.items()}

    def load_ema(self, arrays):
        self.ema = dict(arrays)

    @contextmanager
    def ema_weights(self):
        own, self.values = self.values, self.ema
        try:
            yield
        finally:
            self.values = own

    def to_device(self, batch):
        return batch

    def forward(self, inputs):
        return self.values["box.weight"], self.values["score.weight"]

    def postprocess(self, outputs, inputs):
        box, score = outputs
        label = int(score.argmax())
        scale = np.tile(inputs.sizes[:, ::-1], 2).astype(np.float32)
        return [Detections((box * s)[None], score[[label]], np.array([label])) for s in scale]

    def raw_outputs(self, outputs):
        return {"box": outputs[0][None], "score": outputs[1][None]}

    @contextmanager
    def record_layers(self, inputs=False, feed=None):
        box = self.values["box.weight"]
        yield {"box": box} | ({"box@in0": box} if inputs else {}) | ({"box@fed": feed["box@in0"]} if feed else {})

    def macs(self, batch):
        return 4

    def threads_in_use(self):
        return self.threads

    def synchronize(self):
        pass

    def device_memory(self):
        return None
