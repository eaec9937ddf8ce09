"""The files that a run writes: `metrics.jsonl`, one line per step and epoch; `run.json`, the manifest for the audit."""

import json
import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from parity.config.run import RunConfig
from parity.errors import UserError
from parity.files import digest, write_text
from parity.framework import Framework, Group, TensorInfo
from parity.train.board import Board

ROOT = Path(__file__).resolve().parents[2]
RESTARTS = "PARITY_RESTARTS"  # how often run_job.py has started the program again after a crash of Jittor's compiler


RunManifest = dict[str, Any]  # run.json, whose keys docs/formats.md explains
DatasetManifest = dict[str, Any]  # manifest.json of a dataset


class StepLine(TypedDict):
    """One optimiser step in metrics.jsonl."""

    kind: Literal["step"]
    epoch: int
    step: int
    total: float
    losses: dict[str, float]
    lr: list[float]
    grad_norm: float
    clip: float
    seconds: dict[str, float]
    images: int


class EpochLine(TypedDict):
    """One epoch in metrics.jsonl; `metrics` are COCO's, where the epoch was validated."""

    kind: Literal["epoch"]
    epoch: int
    steps: int
    total: float
    losses: dict[str, float]
    metrics: dict[str, float | None] | None
    seconds: dict[str, float]
    peak_memory_mb: float


Line = StepLine | EpochLine


class GroupRecord(TypedDict):
    """A parameter group as run.json has it."""

    names: list[str]
    lr: float
    weight_decay: float


class MetricsLog:
    """Append-only JSON lines. Opening it for a continued run drops the lines written after the checkpoint.

    `first_step` and `first_epoch` are where the run began: not 0 for one that continues another run's checkpoint.
    `board` gets every line as well. Raises UserError when lines before the checkpoint are gone.
    """

    def __init__(
        self,
        path: Path,
        keep_steps: int = 0,
        keep_epochs: int = 0,
        first_step: int = 0,
        first_epoch: int = 0,
        board: Board | None = None,
    ):
        self.path, self.board = Path(path), board
        kept = _lines_before(self.path, keep_steps, keep_epochs)
        for kind, first, last in (("step", first_step, keep_steps), ("epoch", first_epoch, keep_epochs)):
            have = [line[kind] for _, line in kept if line["kind"] == kind and line[kind]]  # epoch 0: before training
            if have != list(range(first + 1, last + 1)):
                raise UserError(
                    f"{self.path}: has {len(have)} of the {last - first} {kind} lines before the checkpoint; put the"
                    " file back, or remove the folder checkpoints to train from the start"
                )
        write_text(self.path, "".join(text + "\n" for text, _ in kept))
        try:
            self.handle = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def write(self, line: Line) -> None:
        """Append one record; it is in the file when this returns."""
        self._do(lambda: self.handle.write(json.dumps(line, allow_nan=True) + "\n"))
        if self.board:
            self.board.line(line)

    def sync(self) -> None:
        """Write every line to the disk: a checkpoint must not exist without the lines before it."""
        self._do(lambda: os.fsync(self.handle.fileno()))
        if self.board:
            self.board.sync()

    def _do(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        self._do(self.handle.close)
        if self.board:
            self.board.close()


def _lines_before(path: Path, steps: int, epochs: int) -> list[tuple[str, Line]]:
    """(text, record) of the lines up to a checkpoint. Later lines may be torn or damaged."""
    kept: list[tuple[str, Line]] = []
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    for raw in lines:
        try:
            text = raw.decode("utf-8")
            line = json.loads(text)
            if line["step"] <= steps if line["kind"] == "step" else line["epoch"] <= epochs and steps > 0:
                kept.append((text, line))
        except (ValueError, KeyError, TypeError, RecursionError):
            break
    return kept


def read_metrics(path: Path) -> list[Line]:
    """Every complete line of a metrics file; a torn last line (the writer was killed) is left out.

    Raises UserError naming the first line that is no record.
    """
    records: list[Line] = []
    try:
        lines = Path(path).read_bytes().split(b"\n") if Path(path).exists() else []
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    for number, raw in enumerate(lines[:-1], 1):
        if raw:
            try:
                record = json.loads(raw.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}: line {number} is not valid JSON") from error
            if not isinstance(record, dict) or record.get("kind") not in ("step", "epoch"):
                raise UserError(f"{path}: line {number} is no step and no epoch")
            records.append(record)
    return records


def parameter_counts(tensors: list[TensorInfo]) -> dict[str, int]:
    """Counted alike for every framework: BatchNorm statistics are buffers, counters are not counted at all."""
    size = {
        kind: sum(int(np.prod(t.shape)) for t in tensors if t.kind == kind and "num_batches" not in t.name)
        for kind in ("parameter", "frozen", "buffer")
    }
    total = size["parameter"] + size["frozen"]
    return {"trainable": size["parameter"], "total": total, "with_buffers": total + size["buffer"]}


def group_record(groups: list[Group]) -> list[GroupRecord]:
    return [{"names": g.names, "lr": g.lr, "weight_decay": g.weight_decay} for g in groups]


def git_commit() -> str | None:
    """Commit of the project, with `+changes` when tracked files differ from it; None outside a checkout."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty else "")


def now() -> str:
    """Current time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def host() -> dict[str, Any]:
    """The machine, as far as it decides speed."""
    cpu = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text()
        cpu = next(line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "gpu": _gpu(),
        "platform": platform.platform(),
    }


def _gpu() -> str | None:
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def manifest(
    run: RunConfig,
    framework: Framework,
    groups: list[Group],
    factors: np.ndarray,
    plan_digest: str,
    weights_sha256: str,
    dataset: DatasetManifest,
) -> RunManifest:
    """The part of `run.json` that is known before the first step (docs/formats.md)."""
    plain, train = run.plain(), run.train.plain()
    identity = {key: value for key, value in plain.items() if key not in ("framework", "framework_options", "weights")}
    return {
        "framework": run.framework,
        "versions": framework.versions() | {"python": platform.python_version(), "numpy": np.__version__},
        "model": run.model,
        "variant": run.variant,
        "commit": git_commit(),
        "config_digest": digest(identity),
        "parameters": parameter_counts(framework.tensors()),
        "weights_sha256": weights_sha256,
        "groups": group_record(groups),
        "lr_digest": digest([round(float(f), 15) for f in factors]),
        "lr_steps": len(factors),
        "plan_digest": plan_digest,
        "loss_weights": run.options.get("loss_weights", {}),
        "precision": run.precision,
        "device": run.device,
        "threads": run.threads,
        "seed": run.seed,
        "epochs": train["epochs"],
        "batch_size": train["batch_size"],
        "accumulate": train["accumulate"],
        "optimizer": train["optimizer"],
        "schedule": train["schedule"],
        "clip_norm": train["clip_norm"],
        "ema": train["ema"],
        "evaluate_with_ema": train["evaluate_with_ema"],
        "augment": train["augment"],
        "multi_scale": train["multi_scale"],
        "preprocess": plain["preprocess"],
        "num_classes": run.options["num_classes"],
        "dataset_digest": dataset["digest"],
        "train_images": dataset["splits"]["train"]["images"],
        "val_images": dataset["splits"]["val"]["images"],
        "options": run.options,
        "framework_options": run.framework_options,
        "host": host(),
        "restarts": int(os.environ.get(RESTARTS, "0")),
    }
