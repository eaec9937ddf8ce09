"""Checkpoints in neutral form: weights, EMA and optimiser moments under official names, the position as JSON.

A checkpoint is one file `step-<n>.safetensors`, whose prefixes `model/`, `ema/` and `optimizer/` tell the three
apart, with the position and the digest of the configuration in its metadata. Either framework can continue from it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from parity.errors import UserError
from parity.files import atomic
from parity.framework import Framework

KEEP = 2


def save(folder: Path, framework: Framework, position: dict[str, Any], ema: bool) -> Path:
    """Write the state of a run after `position["step"]` steps, then drop all but the newest `KEEP` checkpoints."""
    arrays = {f"model/{k}": v for k, v in framework.state().items()}
    arrays |= {f"optimizer/{k}": v for k, v in framework.optimizer_state().items()}
    if ema:
        arrays |= {f"ema/{k}": v for k, v in framework.ema_state().items()}
    path = Path(folder) / f"step-{position['step']:08d}.safetensors"
    with atomic(path) as temporary:
        contiguous = {key: np.ascontiguousarray(value).reshape(value.shape) for key, value in arrays.items()}
        save_file(contiguous, str(temporary), metadata={"position": json.dumps(position)})
    for old in sorted(Path(folder).glob("step-*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def load_newest(folder: Path, config_digest: str) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]] | None:
    """(arrays by prefix, position) of the newest readable checkpoint, or None.

    A damaged file is passed over for the one before it. Raises UserError for a checkpoint of another configuration.
    """
    for path in sorted(Path(folder).glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(str(path), framework="numpy") as handle:
                position = json.loads(handle.metadata()["position"])
                arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError):
            continue
        if position["config_digest"] != config_digest:
            raise UserError(f"{path}: belongs to another configuration than this run's; move it away or change back")
        parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "ema": {}}
        for key, array in arrays.items():
            prefix, _, name = key.partition("/")
            parts[prefix][name] = array
        return parts, position
    return None


def restore(framework: Framework, parts: dict[str, dict[str, np.ndarray]]) -> None:
    """Put a checkpoint's arrays into a framework whose optimiser and EMA have been made."""
    framework.load_state(parts["model"])
    framework.load_optimizer_state(parts["optimizer"])
    if parts["ema"]:
        framework.load_ema(parts["ema"])
