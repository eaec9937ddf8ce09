"""Jittor behind the interface of parity.framework."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy

from jittor_impl import inspect, ops, state
from jittor_impl.ema import EMA
from jittor_impl.models import build
from jittor_impl.models.interface import Detector
from jittor_impl.optim import Optimizer
from jittor_impl.runtime import compiler_version, jt, onednn_version
from parity.data.targets import batch_targets
from parity.errors import UserError
from parity.framework import Batch, Detections, Framework, Group, StepResult, TensorInfo

Var = jt.Var
OPENMP = ctypes.CDLL("libgomp.so.1")  # the library with which compiled operators of Jittor run their loops


class Inputs(NamedTuple):
    """A batch on the device: images [B, 3, H, W], sizes int32 [B, 2] (height, width)."""

    images: Var
    sizes: Var


class JittorFramework(Framework):
    """One Jittor model with its optimiser and its EMA.

    options: ops, "fast" (default) or "stock", see jittor_impl.ops; dtype, which must be "float32".
    """

    name = "jittor"

    def __init__(self, device: str = "cpu", threads: int | None = None, options: dict[str, Any] | None = None):
        options = options or {}
        if options.get("dtype", "float32") != "float32":
            raise UserError(f"dtype: {options['dtype']} is not offered by Jittor, expected float32")
        ops.use(options.get("ops", "fast"))
        _select_device(device)
        if threads is not None:
            OPENMP.omp_set_num_threads(threads)
        self.model: Detector | None = None
        self.optimizer: Optimizer | None = None
        self.ema: EMA | None = None
        self.accumulated: dict[str, Var] = {}

    def versions(self) -> dict[str, str]:
        return {
            "jittor": jt.__version__,
            "operators": ops.in_use(),
            "onednn": onednn_version(),
            "compiler": compiler_version(),
            "scipy": scipy.__version__,
        }

    def seed(self, seed: int) -> None:
        jt.set_global_seed(seed % 2**31)

    # ---- model
    def build(self, model: str, options: dict[str, Any]) -> None:
        self.model = build(model, options)
        self.optimizer, self.ema, self.accumulated = None, None, {}

    def tensors(self) -> list[TensorInfo]:
        return state.describe(self.model)

    def state(self) -> dict[str, np.ndarray]:
        return state.official(self.model, {name: entry.value for name, entry in state.entries(self.model).items()})

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        state.copy_into(self.model, arrays, "weights")

    # ---- training
    def make_optimizer(self, kind: str, groups: list[Group], **options: Any) -> None:
        self.optimizer = Optimizer(self.model, kind, groups, **options)

    def forward_backward(self, batch: Batch, draws, epoch: int, scale: float = 1.0, extras: bool = False) -> StepResult:
        if not self.model.is_training():
            self.model.train()
        self.model.epoch = epoch
        inputs, targets = self.to_device(batch), batch_targets(batch)
        outputs = self.model(inputs.images, inputs.sizes, targets, draws)
        losses = self.model.losses(outputs, targets)
        gradients = reached_gradients(losses.total * scale, state.parameters(self.model))
        for name, gradient in gradients.items():
            if name in self.accumulated:
                gradient = self.accumulated[name] + gradient
            self.accumulated[name] = gradient
        # Everything is lazy up to here. Running statistics too: unread, they would pile up step after step.
        jt.sync([*losses.named.values(), losses.total, *self.accumulated.values(), *state.running(self.model)])
        arrays = {}
        if extras:
            raw = state.to_arrays(self.model.raw_outputs(outputs))
            arrays = {f"output/{name}": array for name, array in raw.items()} | losses.matches
            arrays |= {f"loss/{name}": np.float32(value.item()) for name, value in (losses.parts or {}).items()}
            if "topk_ind" in raw:
                arrays["topk_ind"] = raw["topk_ind"]
        named = {name: value.item() for name, value in losses.named.items()}
        return StepResult(named, losses.total.item(), arrays)

    def optimizer_step(
        self, lrs: list[float], clip_norm: float | None, norm: bool = True
    ) -> tuple[float | None, float]:
        gradients, self.accumulated = self.accumulated, {}
        return self.optimizer.step(gradients, lrs, clip_norm, norm)

    def optimizer_settings(self) -> dict[str, Any]:
        return self.optimizer.settings()

    def gradients(self) -> dict[str, np.ndarray]:
        return state.official(self.model, self.accumulated)

    def set_gradients(self, arrays: dict[str, np.ndarray]) -> None:
        parameters = state.parameters(self.model)
        self.accumulated = {
            name: _constant(arrays[name]).reshape(parameter.shape)
            for name, parameter in parameters.items()
            if name in arrays
        }

    def optimizer_state(self) -> dict[str, np.ndarray]:
        return self.optimizer.state()

    def load_optimizer_state(self, arrays: dict[str, np.ndarray]) -> None:
        self.optimizer.load_state(arrays)

    def start_ema(self, integers: bool = False) -> None:
        self.ema = EMA(self.model, integers)

    def update_ema(self, decay: float) -> None:
        self.ema.update(self.model, decay)

    def ema_state(self) -> dict[str, np.ndarray]:
        return state.official(self.model, self.ema.values)

    def load_ema(self, arrays: dict[str, np.ndarray]) -> None:
        if self.ema is None:
            self.start_ema()
        state.check(self.tensors(), arrays, "EMA weights")
        for name, value in self.ema.values.items():
            self.ema.values[name] = int(arrays[name]) if isinstance(value, int) else _constant(arrays[name])

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        with self.ema.inside(self.model):
            yield

    # ---- inference
    def to_device(self, batch: Batch) -> Inputs:
        return Inputs(_constant(batch.images), jt.array(batch.sizes.astype(np.int32)))

    def forward(self, inputs: Inputs) -> dict:
        if self.model.is_training():  # changing the mode takes some milliseconds in a model of many modules
            self.model.eval()
        with jt.no_grad():
            return self.model(inputs.images, inputs.sizes)

    def postprocess(self, outputs: dict, inputs: Inputs) -> list[Detections]:
        with jt.no_grad():
            found = self.model.detect(outputs, inputs.sizes)
        return [Detections(*image) for image in found]

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
        return inspect.count_macs(self.model, lambda: self.forward(self.to_device(batch)))

    def threads_in_use(self) -> int:
        return OPENMP.omp_get_max_threads()

    def synchronize(self) -> None:
        jt.sync_all(True)

    def device_memory(self) -> int | None:
        return jt.get_mem_info().total_cuda_used if jt.flags.use_cuda else None


def reached_gradients(loss: Var, parameters: dict[str, Var]) -> dict[str, Var]:
    """Gradients of `loss` by parameter name; parameters that it does not reach are left out, as PyTorch's None.

    Jittor returns zeros for those. It makes the zeros after all real gradients, in the order of the parameters, and
    every new Var has a larger id. So the zero of an unrelated Var that stands first marks where the zeros begin.
    """
    stranger = jt.zeros(1)
    mark, *gradients = jt.grad(loss, [stranger, *parameters.values()], retain_graph=False)
    named = zip(parameters, gradients, strict=True)
    return {name: gradient.stop_grad() for name, gradient in named if gradient.id < mark.id}


def _constant(array: np.ndarray) -> Var:
    """float32, without gradient."""
    return jt.array(np.asarray(array, np.float32)).stop_grad()


def _select_device(name: str) -> None:
    """ "cpu" or "cuda"; raises UserError for anything else and where Jittor has no CUDA."""
    if name not in ("cpu", "cuda"):
        raise UserError(f"device: {name} is unknown to Jittor, expected cpu or cuda")
    if name == "cuda" and not jt.has_cuda:
        raise UserError("device: cuda is not there, Jittor was started without a CUDA compiler (nvcc_path)")
    jt.flags.use_cuda = int(name == "cuda")
