"""A training step of an official variant in one of the frameworks, to be timed in turns with another one."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import yaml  # noqa: E402
from small_run import make_run  # noqa: E402
from turns import processor_seconds  # noqa: E402

from parity.config.models import model_config  # noqa: E402
from parity.config.run import RunConfig, load_run  # noqa: E402
from parity.data.draws import Draws  # noqa: E402
from parity.files import read_json  # noqa: E402
from parity.framework import Batch, Framework  # noqa: E402
from parity.train import loaders  # noqa: E402
from parity.train.prepare import prepare_training  # noqa: E402
from parity.train.schedule import ema_decay  # noqa: E402
from parity.weights.initialize import initialize  # noqa: E402

VARIANTS: dict[str, dict[str, Any]] = {
    "rtdetr": {"variant": "r18vd", "preprocess": {"size": 320}, "batch": 4},
    "detr": {"variant": "r50", "preprocess": {"size": 256, "max_size": 426}, "batch": 2},
    "gfocalv2": {"variant": "r50_fpn", "preprocess": {"size": 256, "max_size": 426}, "batch": 4},
    "nanodet": {"variant": "plus-m_320", "preprocess": {}, "batch": 8},
}
BATCHES = 4  # of a round, after one that is not counted


def make_config(model: str, data: Path, dropout: float | None = None) -> RunConfig:
    """A training of the official variant on a prepared dataset, at the size and batch of docs/speed.md."""
    about, chosen = read_json(data / "manifest.json"), VARIANTS[model]
    ids = [one["id"] for one in about["classes"]]
    plain = model_config(model, chosen["variant"], max(ids) + 1 if model == "detr" else len(ids)).plain()
    if model == "detr" and dropout is not None:
        plain["options"]["dropout"] = dropout
    train = plain["train"] | {"epochs": 1, "batch_size": chosen["batch"], "multi_scale": [], "eval_every": 1}
    run = make_run(data, Path("none"), "torch")
    run |= {key: plain[key] for key in ("model", "variant", "label_space", "options", "groups")}
    run |= {"preprocess": plain["preprocess"] | chosen["preprocess"], "train": train}
    run["data"] |= {"num_classes": len(ids)}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(run | {"framework_options": {"tuned": True}}, file)
        file.flush()
        return load_run(file.name)


def first_batches(run: RunConfig) -> list[Batch]:
    """The training batches of a round."""
    loader = loaders.train_loader(run).batches(1)
    batches = [next(loader) for _ in range(BATCHES + 1)]
    loader.close()
    return batches


class Ours:
    """A framework of this project, as it is measured in reports."""

    def __init__(self, run: RunConfig, framework: type[Framework]):
        self.run, self.framework = run, framework("cpu", run.threads, run.framework_options)
        self.framework.build(run.model, run.options)
        self.framework.load_state(initialize(run.model, self.framework.tensors(), run.seed, run.options))
        self.rates = [group.lr for group in prepare_training(self.framework, run)]

    def step(self, number: int, batch: Batch) -> None:
        self.framework.forward_backward(batch, Draws(self.run.seed, number), 0)
        self.framework.optimizer_step(self.rates, self.run.train.clip_norm, norm=False)
        if self.run.train.ema:
            self.framework.update_ema(ema_decay(self.run.train.ema, number))
        self.framework.synchronize()  # Jittor computes when it is asked for a result

    def detect(self, batch: Batch) -> None:
        """Outputs alone: what makes detections of them is another in each library."""
        outputs = self.framework.forward(self.framework.to_device(batch))
        self.framework.synchronize()
        del outputs  # not before: Jittor computes nothing that nobody holds


def round_of(step: Callable[[int, Batch], None], batches: list[Batch]) -> Callable[[], float]:
    """Seconds of a step, in the mean of one pass; the first batch, after the other side's turn, is not counted."""

    def seconds() -> float:
        step(1, batches[0])
        taken = [processor_seconds(lambda k=k, b=b: step(k, b)) for k, b in enumerate(batches[1:], 2)]
        return sum(taken) / len(taken)

    return seconds
