"""When a training goes wrong: a loss that is no number, memory that runs out.

Everything here ends in one line that says where it happened and what to do, and leaves what is needed to see it again.
"""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from parity.arrays import write_npz
from parity.config.models import model_config
from parity.config.run import RunConfig
from parity.data.draws import Draws
from parity.errors import UserError
from parity.files import write_text
from parity.framework import Batch, Framework
from parity.weights import formats

FOLDER = "not_finite"  # in the run's folder: the step that gave no number
# PyTorch on GPU and on CPU, CUDA itself, C++, Jittor
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cudaErrorMemoryAllocation|bad_alloc|memory is overflow|Cannot allocate memory"
)


class RecordingDraws:
    """Draws that keep the arrays they returned, in call order: the `draws/<i>` of a reproducer."""

    def __init__(self, draws: Draws):
        self.draws, self.arrays = draws, []

    def _keep(self, array: np.ndarray) -> np.ndarray:
        self.arrays.append(array.copy())
        return array

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._keep(self.draws.uniform(shape))

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        return self._keep(self.draws.integers(low, high, shape))


def finite(array: np.ndarray) -> bool:
    """Whether an array holds numbers only; integers always do."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def why_not_finite(
    run: RunConfig,
    framework: Framework,
    batch: Batch,
    key: tuple[int, ...],
    epoch: int,
    folder: Path,
) -> str | None:
    """Repeat the forward pass of a step that gave no number; says where one is missing first, and how to see it again.

    `key` is that of the step's `Draws`. The batch, its draws and the weights before the step are written to
    `folder`/not_finite together with the `trace` command that repeats it. None when this time everything is a number.
    """
    state = framework.state()
    draws = RecordingDraws(Draws(*key))
    ended = ""
    with framework.record_layers() as layers:
        try:
            result = framework.forward_backward(batch, draws, epoch)
            ended = ", ".join(name for name, value in result.losses.items() if not np.isfinite(value)) or (
                "" if np.isfinite(result.total) else "the total loss"
            )
        except Exception as error:  # an effect of the missing number; the recorded outputs tell more
            ended = f"{type(error).__name__}: {error}"
    parameters = {tensor.name for tensor in framework.tensors() if tensor.kind != "buffer"}
    broken = [name for name, array in state.items() if name in parameters and not finite(array)]
    module = next((name for name, array in layers.items() if not finite(array)), None)
    if broken:
        where = f"the weights were none already, first of them {broken[0]}"
    elif module is not None:
        where = f"first in the output of module {module}"
    elif ended and not re.match(r"\w+: ", ended):
        where = f"the output of every module is a number, but not {ended}"
    else:
        return None
    target = folder / FOLDER
    formats.write(target / "weights.safetensors", state)
    write_npz(target / "inputs.npz", _inputs(batch, draws))
    write_text(target / "command.txt", _command(run, epoch, target))
    return f"{where}; the step is kept in {target}, see command.txt there"


def _inputs(batch: Batch, draws: RecordingDraws) -> dict[str, np.ndarray]:
    """The arrays of a trace's IN.npz, and the image ids."""
    names = ("images", "sizes", "boxes", "labels", "counts", "image_ids")
    arrays = {name: np.asarray(getattr(batch, name)) for name in names if getattr(batch, name) is not None}
    return arrays | {f"draws/{i}": array for i, array in enumerate(draws.arrays)}


def _command(run: RunConfig, epoch: int, folder: Path) -> str:
    """The `trace` call that repeats the step, with every option that is not the variant's own."""
    options = run.options
    plain = model_config(run.model, run.variant, options["num_classes"]).options
    changed = [f"{key}={json.dumps(value)}" for key, value in options.items() if plain.get(key) != value]
    call = ["python", "-m", f"{run.framework}_impl", "trace", "--model", run.model, "--variant", run.variant]
    call += ["--num-classes", str(options["num_classes"]), "--weights", str(folder / "weights.safetensors")]
    call += ["--inputs", str(folder / "inputs.npz"), "--out", str(folder / "trace.npz"), "--mode", "train", "--layers"]
    return shlex.join([*call, "--set", f"epoch={epoch}", *changed]) + "\n"


def describe(batch: Batch, epoch: int, step: int) -> str:
    """The position of a training as text; `epoch` and `step` count from 1."""
    return f"epoch {epoch}, step {step}, images {[int(i) for i in batch.image_ids]}"


@contextmanager
def memory_watched(where: str, advice: str) -> Iterator[None]:
    """Turn every framework's way of running out of memory into one line with advice."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not (isinstance(error, MemoryError) or NO_MEMORY.search(str(error))):
            raise
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"out of memory in {where}: {advice} ({said})") from error


def smaller_steps(run: RunConfig, batch: Batch) -> str:
    """Advice for a training step that does not fit: the same optimiser step from smaller batches."""
    size, accumulate = run.train.batch_size, run.train.accumulate
    shape = " x ".join(map(str, batch.images.shape[2:]))
    text = f"train.batch_size is {size}, images are {shape}"
    if size == 1:
        return f"{text}; try smaller images (preprocess.size) or a smaller variant"
    half = size // 2
    return f"{text}; try train.batch_size {half} with train.accumulate {accumulate * size // half}"
