"""The interface of a framework: everything that `parity` needs to train, evaluate, trace and profile with it.

`torch_impl/framework.py` and `jittor_impl/framework.py` are the two implementations. A third framework is a package
with a `Framework` subclass and a `__main__.py` of one line, `sys.exit(parity.cli.main(MyFramework))`; nothing else in
the project knows which frameworks exist, except the list in the configuration schema.

Arrays cross this border as NumPy arrays under the official checkpoints' parameter names. Inside, a framework is free.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.config.model import Options
from parity.config.run import FrameworkOptions


@dataclass
class Batch:
    """One batch as every model receives it; the arrays of `IN.npz` (docs/trace.md) and of the loader.

    images       float32 [B, 3, H, W]  preprocessed and padded with zeros at the bottom and right
    sizes        int64   [B, 2]        (height, width) of each image inside the padding
    boxes        float32 [M, 4]        absolute xyxy pixels of the preprocessed image, all images one after the other
    labels       int64   [M]           class index of the model's own head
    counts       int64   [B]           boxes per image, sum M
    image_ids    int64   [B]           ids of the dataset
    original     int64   [B, 2]        (height, width) of the image file, the frame of detections in results
    """

    images: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray | None = None
    image_ids: np.ndarray | None = None
    original: np.ndarray | None = None

    def __post_init__(self):
        if self.counts is None:
            self.counts = np.zeros(len(self.images), np.int64)

    def targets(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(boxes [n, 4], labels [n]) per image."""
        ends = np.cumsum(self.counts)
        return [(self.boxes[e - n : e], self.labels[e - n : e]) for e, n in zip(ends, self.counts, strict=True)]


@dataclass
class TensorInfo:
    """One entry of the model's state: `kind` is "parameter", "frozen" (a parameter without gradient) or "buffer"."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass
class Group:
    """Optimiser group: parameter names with a learning rate (a factor of the schedule is applied to it) and decay."""

    names: list[str]
    lr: float
    weight_decay: float


@dataclass
class StepResult:
    """One forward and backward pass: `losses` by official component name; `total`, which was differentiated.

    `extras` (only when asked for): contract arrays such as `output/pred_logits`, `match/main/img0/src`, `topk_ind`.
    """

    losses: dict[str, float]
    total: float
    extras: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Detections:
    """Detections of one image: boxes float32 [K, 4] xyxy pixels in the `sizes` frame, scores [K], labels int64 [K]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Framework(ABC):
    """One framework holding at most one model, its optimiser and its EMA.

    `options` carries what only concerns this framework (Jittor: {"ops": "fast" | "stock"}).
    """

    name: str
    dtypes: tuple[str, ...] = ("float32",)  # values of the option `dtype`

    @abstractmethod
    def __init__(self, device: str = "cpu", threads: int | None = None, options: FrameworkOptions | None = None): ...

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Framework version first, then whatever decides its numbers or speed (BLAS, oneDNN, operators in use)."""

    @abstractmethod
    def seed(self, seed: int) -> None:
        """Seed every generator of the framework, for safety: models draw through `parity.data.draws` only."""

    # ---- model
    @abstractmethod
    def build(self, model: str, options: Options) -> None:
        """Build a model by name from its resolved hyper-parameters (config/models/<model>.yaml and num_classes)."""

    @abstractmethod
    def tensors(self) -> list[TensorInfo]:
        """Every entry of the official state dict, in the official order, `num_batches_tracked` included."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Copy of the state under official names."""

    @abstractmethod
    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Load a complete state; raises UserError for a missing, unknown or wrongly shaped entry."""

    # ---- training
    @abstractmethod
    def make_optimizer(self, kind: str, groups: list[Group], **options: Any) -> None:
        """`kind`: "AdamW" (betas, eps) or "SGD" (momentum). Semantics are those of torch.optim."""

    @abstractmethod
    def forward_backward(self, batch: Batch, draws, epoch: int, scale: float = 1.0, extras: bool = False) -> StepResult:
        """Train-mode forward, losses, and gradients of `scale * total` added to the accumulated ones."""

    @abstractmethod
    def optimizer_step(
        self, lrs: list[float], clip_norm: float | None, norm: bool = True
    ) -> tuple[float | None, float]:
        """Clip by global norm, step with one learning rate per group. Accumulation then starts from zero.

        Returns (global gradient norm before clipping, factor that clipping applied: 1 = none). Without `norm`, the norm
        is None where nothing clips: a number that is not logged costs nothing.
        """

    @abstractmethod
    def optimizer_settings(self) -> dict[str, Any]:
        """The settings that the optimiser has now, read back from the optimiser itself.

        kind; groups, each with names, lr and weight_decay, and betas and eps or momentum; clip_norm. `lr` and
        `clip_norm` are those of the latest step.
        """

    @abstractmethod
    def gradients(self) -> dict[str, np.ndarray]:
        """Accumulated gradients by parameter name; parameters that the loss does not reach are left out."""

    @abstractmethod
    def set_gradients(self, arrays: dict[str, np.ndarray]) -> None:
        """Replace the accumulated gradients by these; parameters that are not named then have no gradient."""

    @abstractmethod
    def optimizer_state(self) -> dict[str, np.ndarray]:
        """Moments as `<parameter>/exp_avg`, `<parameter>/exp_avg_sq`, `<parameter>/momentum_buffer`, and `step` [1]."""

    @abstractmethod
    def load_optimizer_state(self, arrays: dict[str, np.ndarray]) -> None: ...

    @abstractmethod
    def start_ema(self, integers: bool = False) -> None:
        """Begin an exponential moving average as a copy of the model; of integer entries too, if `integers`."""

    @abstractmethod
    def update_ema(self, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * value, for every floating entry of the state, BN statistics included."""

    @abstractmethod
    def ema_state(self) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def load_ema(self, arrays: dict[str, np.ndarray]) -> None: ...

    @abstractmethod
    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """While inside, the model carries the EMA weights."""

    # ---- inference, in three stages so that they can be timed apart
    @abstractmethod
    def to_device(self, batch: Batch) -> Any:
        """Move images and sizes into the framework."""

    @abstractmethod
    def forward(self, inputs: Any) -> Any:
        """Eval-mode forward without gradients: raw outputs."""

    @abstractmethod
    def postprocess(self, outputs: Any, inputs: Any) -> list[Detections]:
        """Raw outputs to detections, as NumPy."""

    def predict(self, batch: Batch) -> list[Detections]:
        """`to_device`, `forward` and `postprocess`, one after the other."""
        inputs = self.to_device(batch)
        return self.postprocess(self.forward(inputs), inputs)

    @abstractmethod
    def raw_outputs(self, outputs: Any) -> dict[str, np.ndarray]:
        """Raw outputs of `forward` under the contract's names, e.g. `pred_logits`, `topk_ind`."""

    # ---- looking inside
    @abstractmethod
    @contextmanager
    def record_layers(
        self, inputs: bool = False, feed: dict[str, np.ndarray] | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """While inside, forward passes add every module's output under its official path, in the order they finish.

        `path` for a tensor, `path[i]` or `path[key]` for what a tuple, list or dict holds, `path#1` for a second call.
        With `inputs` also `path@in<i>`, what the module was given as its i-th argument. With `feed`, such inputs that
        another framework recorded, also `path@fed`: the module's output when its tensors are replaced by those of
        `feed`, whatever it was given itself. A module that `feed` has no fitting inputs for is left out.
        """

    @abstractmethod
    def macs(self, batch: Batch) -> int:
        """Multiply-accumulates of one eval forward: convolutions, linear layers, attention products, from shapes."""

    @abstractmethod
    def threads_in_use(self) -> int:
        """How many threads the framework computes with, asked from the framework itself."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything queued has been computed."""

    @abstractmethod
    def device_memory(self) -> int | None:
        """Peak bytes allocated on an accelerator, None on CPU (host memory is measured from outside for everyone)."""
