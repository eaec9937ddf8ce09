"""PyTorch behind the interface of parity.framework."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import torch
from torch import Tensor

from parity.data.targets import batch_targets
from parity.errors import UserError
from parity.framework import Batch, Detections, Framework, Group, StepResult, TensorInfo
from torch_impl import inspect, state
from torch_impl.ema import EMA
from torch_impl.models import build
from torch_impl.models.interface import Detector
from torch_impl.optim import Optimizer

DTYPES = {"float32": torch.float32, "float64": torch.float64}
KERNELS = Path(__file__).resolve().parents[1] / ".cache/inductor"
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class Inputs(NamedTuple):
    """A batch on the device: images [B, 3, H, W], sizes int64 [B, 2] (height, width)."""

    images: Tensor
    sizes: Tensor


class TorchFramework(Framework):
    """One PyTorch model with its optimiser and its EMA.

    options: dtype, "float32" (default) or "float64"; tuned, to run as fast as a user would make it (measurements), not
    repeatable to the last bit (trainings, the default): no deterministic algorithms, one kernel for the optimiser and
    for the average; compile, to have torch.compile make kernels of the networks (each child of the model: backbone,
    encoder, ...). Between them the host works on lists of boxes; compiled, this would be traced again for every batch.
    The kernels are kept in `.cache/inductor`, or where TORCHINDUCTOR_CACHE_DIR says.

    TensorFloat-32 is off. Deterministic algorithms are on unless `tuned`; where a GPU has none, PyTorch warns instead
    of failing.
    """

    name = "torch"
    dtypes = tuple(DTYPES)

    def __init__(self, device: str = "cpu", threads: int | None = None, options: dict[str, Any] | None = None):
        options = options or {}
        dtype = options.get("dtype", "float32")
        self.tuned, self.compile = bool(options.get("tuned", False)), bool(options.get("compile", False))
        if dtype not in DTYPES:
            raise UserError(f"dtype: {dtype} is unknown, expected {' or '.join(DTYPES)}")
        self.dtype, self.device = DTYPES[dtype], _device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic matrix products on GPU need
        torch.use_deterministic_algorithms(not self.tuned, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time and changes no result
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = self.tuned
        self.model: Detector | None = None
        self.optimizer: Optimizer | None = None
        self.ema: EMA | None = None

    def versions(self) -> dict[str, str]:
        onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
        versions = {
            "torch": torch.__version__,
            "onednn": onednn.group(1) if onednn else "none",
            "mkl": str(torch.backends.mkl.is_available()).lower(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "scipy": scipy.__version__,
        }
        if self.device.type == "cuda":
            versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
        return versions

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)

    # ---- model
    def build(self, model: str, options: dict[str, Any]) -> None:
        self.model = build(model, options).to(self.device, self.dtype)
        if self.compile:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(KERNELS))
            for child in self.model.children():
                child.compile()
        self.optimizer = self.ema = None

    def tensors(self) -> list[TensorInfo]:
        return state.describe(self.model)

    def state(self) -> dict[str, np.ndarray]:
        return state.to_arrays(self.model.state_dict())

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        state.copy_into(self.model.state_dict(), arrays, "weights")

    # ---- training
    def make_optimizer(self, kind: str, groups: list[Group], **options: Any) -> None:
        if self.optimizer is not None:
            self.optimizer.clear()  # the new one does not know which gradients are used up
        self.optimizer = Optimizer(self.model, kind, groups, self.tuned, **options)

    def forward_backward(self, batch: Batch, draws, epoch: int, scale: float = 1.0, extras: bool = False) -> StepResult:
        self.model.train()
        self.model.epoch = epoch
        inputs, targets = self.to_device(batch), batch_targets(batch, NUMPY[self.dtype])
        outputs = self.model(inputs.images, inputs.sizes, targets, draws)
        losses = self.model.losses(outputs, targets)
        if self.optimizer is not None:
            self.optimizer.clear()
        (losses.total if scale == 1.0 else losses.total * scale).backward()
        names, values = list(losses.named), torch.stack([value.detach() for value in losses.named.values()])
        arrays = {}
        if extras:
            raw = state.to_arrays(self.model.raw_outputs(outputs))
            arrays = {f"output/{name}": array for name, array in raw.items()} | losses.matches
            arrays |= {f"loss/{name}": np.float32(value.item()) for name, value in (losses.parts or {}).items()}
            if "topk_ind" in raw:
                arrays["topk_ind"] = raw["topk_ind"]
        return StepResult(dict(zip(names, values.tolist(), strict=True)), float(losses.total.detach()), arrays)

    def optimizer_step(
        self, lrs: list[float], clip_norm: float | None, norm: bool = True
    ) -> tuple[float | None, float]:
        return self.optimizer.step(lrs, clip_norm, norm)

    def optimizer_settings(self) -> dict[str, Any]:
        return self.optimizer.settings()

    def gradients(self) -> dict[str, np.ndarray]:
        if self.optimizer is not None and self.optimizer.used:
            return {}
        return state.to_arrays({n: p.grad for n, p in self.model.named_parameters() if p.grad is not None})

    def set_gradients(self, arrays: dict[str, np.ndarray]) -> None:
        if self.optimizer is not None:
            self.optimizer.clear()
        for name, parameter in self.model.named_parameters():
            given = arrays.get(name)
            parameter.grad = None if given is None else torch.from_numpy(np.array(given)).to(parameter)
        if self.optimizer is not None:
            self.optimizer.used = False  # no step has taken these

    def optimizer_state(self) -> dict[str, np.ndarray]:
        return self.optimizer.state()

    def load_optimizer_state(self, arrays: dict[str, np.ndarray]) -> None:
        self.optimizer.load_state(arrays)

    def start_ema(self, integers: bool = False) -> None:
        self.ema = EMA(self.model, integers, self.tuned)

    def update_ema(self, decay: float) -> None:
        self.ema.update(self.model, decay)

    def ema_state(self) -> dict[str, np.ndarray]:
        return state.to_arrays(self.ema.tensors)

    def load_ema(self, arrays: dict[str, np.ndarray]) -> None:
        if self.ema is None:
            self.start_ema()
        state.copy_into(self.ema.tensors, arrays, "EMA weights")

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        with self.ema.inside(self.model):
            yield

    # ---- inference
    def to_device(self, batch: Batch) -> Inputs:
        images = torch.from_numpy(batch.images).to(self.device, self.dtype)
        return Inputs(images, torch.from_numpy(batch.sizes).to(self.device))

    @torch.no_grad()
    def forward(self, inputs: Inputs) -> dict:
        self.model.eval()
        return self.model(inputs.images, inputs.sizes)

    @torch.no_grad()
    def postprocess(self, outputs: dict, inputs: Inputs) -> list[Detections]:
        found = self.model.detect(outputs, inputs.sizes)
        return [Detections(*(part.cpu().numpy() for part in image)) for image in found]

    def raw_outputs(self, outputs: dict) -> dict[str, np.ndarray]:
        return state.to_arrays(self.model.raw_outputs(outputs))

    # ---- looking inside
    @contextmanager
    def record_layers(
        self, inputs: bool = False, feed: dict[str, np.ndarray] | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        with inspect.record_layers(self.model, inputs, feed) as recorded:
            yield recorded

    def macs(self, batch: Batch) -> int:
        """By the rule of `parity.measure.macs`."""
        # No hook sees what a compiled kernel does; where nothing is compiled, the compiler is left out.
        with torch.compiler.set_stance("force_eager") if self.compile else nullcontext():
            return inspect.count_macs(self.model, lambda: self.forward(self.to_device(batch)))

    def threads_in_use(self) -> int:
        return torch.get_num_threads()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def device_memory(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None


def _device(name: str) -> torch.device:
    """ "cpu", "cuda" or "cuda:<number>"; raises UserError for anything else and for a GPU that is not there."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device: {name} is unknown, expected cpu, cuda or cuda:<number>")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device: {name} is not there, PyTorch sees {torch.cuda.device_count()} GPU(s)")
    return device
