"""A record of what a framework is given and what it reports about itself, made while it trains.

The configuration says what a run should do. The audit of a comparison also wants to know what happened: which bytes
the framework received, which weights it held after loading, which learning rates its optimiser used. All of it is
noted here, by the loop that both frameworks share, and ends in `run.json` under `observed`.

Long series become one digest: each entry is hashed together with the digest of everything before it. The digests so
far travel with every checkpoint, so that a run that was killed ends with the same ones.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from parity.data.loader import batch_digest
from parity.framework import Batch, Framework
from parity.weights import formats

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # what decides how threads of OpenMP wait for each other

Notes = dict[str, Any]  # of `checkpoint.Position`: {"batches": {"count": 3, "sha256": "..."}, ...}


def add(notes: Notes, series: str, value: Any) -> None:
    """Continue the digest of a series by one value, which is a string or anything that JSON can hold."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    before = notes.get(series, {"count": 0, "sha256": ""})
    sha256 = hashlib.sha256(f"{before['sha256']}\0{text}".encode()).hexdigest()
    notes[series] = {"count": before["count"] + 1, "sha256": sha256}


def batch(notes: Notes, given: Batch, series: str = "batches") -> None:
    """Note a batch that the framework is about to be given: every byte of it."""
    add(notes, series, batch_digest(given))


def step(notes: Notes, framework: Framework) -> None:
    """Note what the optimiser used in the step it has just made: learning rates and the bound on the gradient norm."""
    used = framework.optimizer_settings()
    add(notes, "rates", [group["lr"] for group in used["groups"]])
    add(notes, "clipping", used["clip_norm"])


def loaded(framework: Framework) -> str:
    """SHA-256 (hex) of the state that the framework holds now, by the rule of `formats.weights_sha256`."""
    return formats.weights_sha256(framework.state())


def optimizer(framework: Framework) -> dict[str, Any]:
    """Kind and groups as the optimiser holds them, without the learning rate, which changes from step to step."""
    held = framework.optimizer_settings()
    groups = [{key: value for key, value in group.items() if key != "lr"} for group in held["groups"]]
    return {"kind": held["kind"], "groups": groups}


def environment() -> dict[str, str | None]:
    """The variables of the process that decide how its threads wait."""
    return {name: os.environ.get(name) for name in ENVIRONMENT}


def code() -> dict[str, str]:
    """Path -> SHA-256 (first 16 digits) of every source file of `parity` that is loaded in this process."""
    files = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "parity" and getattr(module, "__file__", None)
    }
    return {
        os.path.relpath(path, ROOT): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(files)
        if path.is_file()
    }


def record(notes: Notes, framework: Framework, state_sha256: str, sources: dict[str, str]) -> dict[str, Any]:
    """The part `observed` of `run.json`. `sources` is what `code` said when the run began."""
    return {
        "state_sha256": state_sha256,
        **notes,
        "optimizer": optimizer(framework),
        "precision": sorted({entry.dtype for entry in framework.tensors() if entry.kind == "parameter"}),
        "threads": framework.threads_in_use(),
        "environment": environment(),
        "code": sources,
    }
