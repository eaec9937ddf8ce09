"""Checkpoints in neutral form: weights, EMA and optimiser moments under official names, the position as JSON.

A checkpoint is one file `step-<n>.safetensors`, whose prefixes `model/`, `ema/` and `optimizer/` tell the three apart.
Its metadata holds the position, the configuration and a checksum over everything. Either framework can go on from it.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from safetensors import SafetensorError, safe_open

from parity.config.section import Plain
from parity.errors import UserError
from parity.files import leaves, sync
from parity.framework import Framework
from parity.weights import formats

PARTS = ("model", "optimizer", "ema")
LR_DIGITS = 12  # decimals to which learning rates are compared: another machine's cosine may differ in its last bit


class Running(TypedDict):
    """Sums over the steps of the epoch that has begun; `losses` holds [sum, count] by name."""

    total: float
    losses: dict[str, list]
    seconds: float


class Origin(TypedDict):
    """The checkpoint of another folder that a run went on from."""

    source: str
    framework: str
    sha256: str
    step: int
    epoch: int


@dataclass
class Position:
    """The position of a run: `epoch` epochs and `step` optimiser steps are complete.

    `running` sums up the `steps` of the epoch that has begun: total, losses (name: [sum, count]), seconds.
    `origin` names the checkpoint in another folder that the run began with, if there is one.
    `notes` are the digests of what the framework was given so far (`parity.train.observe`).
    """

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = 0
    steps: int = 0
    running: Running = field(default_factory=lambda: {"total": 0.0, "losses": {}, "seconds": 0.0})
    origin: Origin | None = None
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, total: float, losses: dict[str, float], seconds: float) -> None:
        """Count one optimiser step."""
        self.step += 1
        self.steps += 1
        self.running["total"] += total
        self.running["seconds"] += seconds
        for name, value in losses.items():
            entry = self.running["losses"].setdefault(name, [0.0, 0])
            entry[0] += value
            entry[1] += 1

    def next_epoch(self) -> None:
        """Close the running epoch."""
        self.epoch += 1
        self.steps = 0
        self.running = {"total": 0.0, "losses": {}, "seconds": 0.0}


@dataclass
class Checkpoint:
    """A checkpoint as it was read. `parts` maps model, optimizer and ema to arrays by name."""

    path: Path
    parts: dict[str, dict[str, np.ndarray]]
    position: Position
    config: Plain
    lr_sha256: str
    framework: str
    sha256: str


class _Damaged(Exception):
    """Why a file cannot be used as a checkpoint."""


def save(
    folder: Path,
    framework: Framework,
    position: Position,
    config: Plain,
    factors: np.ndarray,
    ema: bool,
    keep: int = 2,
) -> Path:
    """Write the state of a run after `position.step` steps, then drop all but the newest `keep` checkpoints.

    `config` is what a continued run must share with this one; `factors` are the learning-rate factors of all its steps.
    """
    parts = {"model": framework.state(), "optimizer": framework.optimizer_state()}
    if ema:
        parts["ema"] = framework.ema_state()
    arrays = {f"{part}/{name}": np.asarray(a, order="C") for part, found in parts.items() for name, a in found.items()}
    about = {"position": asdict(position), "config": config, "framework": framework.name}
    text = json.dumps(about | {"lr_sha256": _lr_sha256(factors, position.step)})
    path = Path(folder) / f"step-{position.step:08d}.safetensors"
    formats.write(path, arrays, {"checkpoint": text, "sha256": _sha256(text, arrays)})
    for old in sorted(Path(folder).glob("step-*.safetensors"))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint of a folder, or None. A damaged one is set aside, with a line to `say`."""
    for path in sorted(Path(folder).glob("step-*.safetensors"), reverse=True):
        try:
            return _read(path)
        except _Damaged as error:
            aside = path.with_name(f"{path.name}.damaged")
            os.replace(path, aside)
            sync(path.parent)
            say(f"{path}: {error}; it is now called {aside.name} and the checkpoint before it is used")
    return None


def read(source: Path) -> Checkpoint:
    """A checkpoint by its file, or the newest whole one of a run's folder; changes nothing there.

    Raises UserError when there is none.
    """
    source = Path(source)
    files = [source]
    if source.is_dir():
        files = sorted((source / "checkpoints").glob("step-*.safetensors"), reverse=True)
    problems = []
    for path in files:
        try:
            return _read(path)
        except _Damaged as error:
            problems.append(f"{path.name} {error}")
    raise UserError(f"{source}: holds no whole checkpoint{': ' if problems else ''}{'; '.join(problems)}")


def _read(path: Path) -> Checkpoint:
    try:
        with open(path, "rb"):  # a file without permission to read is not damaged
            pass
        with safe_open(str(path), framework="numpy") as handle:
            metadata = handle.metadata() or {}
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, MemoryError, OverflowError) as error:
        raise _Damaged(f"is damaged ({error})") from error
    text = metadata.get("checkpoint", "")
    if _sha256(text, arrays) != metadata.get("sha256"):
        raise _Damaged("is damaged or no checkpoint of this version (its checksum does not match)")
    try:
        about = json.loads(text)
        position = Position(**about["position"])
        origin, running = position.origin or {"epoch": 0, "step": 0}, position.running
        counts = [position.epoch, position.step, position.steps, position.best_epoch, origin["epoch"], origin["step"]]
        counts += [count for _, count in running["losses"].values()]
        counts += [series["count"] for series in position.notes.values()]
        sums = [
            position.best,
            running["total"],
            running["seconds"],
            *(value for value, _ in running["losses"].values()),
        ]
        if not all(type(n) is int and n >= 0 for n in counts) or not all(isinstance(x, (int, float)) for x in sums):
            raise ValueError("the position is no number")
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
        for key, array in arrays.items():
            part, _, name = key.partition("/")
            parts[part][name] = array
        named = (about["config"], str(about["lr_sha256"]), str(about["framework"]), metadata["sha256"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _Damaged(f"is no checkpoint of this version ({type(error).__name__}: {error})") from error
    return Checkpoint(path, parts, position, *named)


def _sha256(text: str, arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 (hex) over the metadata and every array with its name, type and shape."""
    sha = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for key in sorted(arrays):
        array = arrays[key]
        sha.update(f"\0{key}\0{array.dtype.str}\0{array.shape}\0".encode("utf-8", "surrogatepass"))
        sha.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return sha.hexdigest()


def _lr_sha256(factors: np.ndarray, steps: int) -> str:
    return hashlib.sha256(np.round(factors[:steps], LR_DIGITS).astype("<f8").tobytes()).hexdigest()


def check(found: Checkpoint, config: Plain, factors: np.ndarray) -> None:
    """Raise UserError unless a run of `config` may go on from a checkpoint; names the key that differs.

    Another number of epochs is allowed if the learning rates of the steps taken are the same.
    """
    there, here = dict(leaves(found.config)), dict(leaves(json.loads(json.dumps(config))))
    keys = [key for key in dict.fromkeys([*there, *here]) if there.get(key, "absent") != here.get(key, "absent")]
    other = [key for key in keys if key != "train.epochs"]
    if other:
        key, more = other[0], f" (and {len(other) - 1} more keys)" if len(other) > 1 else ""
        values = f"{there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} here"
        raise UserError(f"{found.path}: belongs to another configuration: {key} is {values}{more}")
    if not keys:
        return
    position, epochs = found.position, f"{there.get('train.epochs')} there, {here.get('train.epochs')} here"
    if position.step > len(factors):
        raise UserError(
            f"{found.path}: stands at step {position.step}, but the run ends at {len(factors)}: train.epochs"
        )
    if _lr_sha256(factors, position.step) != found.lr_sha256:
        raise UserError(
            f"{found.path}: train.epochs is {epochs}, and with it the learning rates of the {position.step} steps taken"
            " differ: a cosine schedule cannot be extended, as it is drawn over all epochs"
        )


def restore(framework: Framework, parts: dict[str, dict[str, np.ndarray]]) -> None:
    """Put a checkpoint's arrays into a framework whose optimiser and EMA have been made."""
    framework.load_state(parts["model"])
    framework.load_optimizer_state(parts["optimizer"])
    if parts["ema"]:
        framework.load_ema(parts["ema"])
