"""The folder that `probe` writes, and how it is read back."""

import copy
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from parity.arrays import write_npz
from parity.errors import UserError
from parity.files import read_json

NUDGED = ("nudged", "nudged2", "nudged3")  # gradients again, each after another change of last bits
NUDGED_ANCHORS = tuple(f"{name}_anchors" for name in NUDGED)  # steps from the same states, likewise
STEPS = ("steps.json", "anchors.npz", *(f"{name}.npz" for name in NUDGED_ANCHORS))  # what the verb `steps` writes
TRAIN = "train/"  # prefix of the names of what the referee computed in training mode
SMALL = 1024  # bytes
ALIAS = "alias/"  # `alias/<name>` holds the name of an equal array: a layer's input is often an earlier output
SCORES = "decoder.enc_score_head"  # module of RT-DETR whose largest class logit ranks the positions of queries


def names(reference: bool, trajectory: bool) -> list[str]:
    """Names of the files in a probe's folder that others read, probe.json first; the workflow declares the same files.

    `reference` is the first framework's probe, which the others are compared with and fed from. `trajectory` says
    whether a training is recorded.
    """
    found = ["probe.json", "batches.npz", "eval.npz", "train.npz", "average.npz"]
    if reference:
        found += ["states.npz", *(f"{name}.npz" for name in NUDGED), "referee.npz"]
    if trajectory:
        found += ["anchors.npz", "final.npz"]
    if reference and trajectory:
        found += ["anchor_states.npz", "final.safetensors", *(f"{name}.npz" for name in NUDGED_ANCHORS)]
    return found


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an npz, equal arrays once only; the order is kept."""
    seen: dict[tuple, str] = {}
    stored: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        array = np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if array.nbytes > 256 and key in seen:
            stored[ALIAS + name] = np.array(seen[key])
        else:
            seen[key] = name
            stored[name] = array
    write_npz(path, stored)


class Arrays(Mapping[str, np.ndarray]):
    """An npz of `save_arrays`, read array by array. Raises UserError for a file that is no npz.

    Small arrays are kept once they were read: there are tens of thousands of sketches, and each is asked for several
    times.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self.npz = np.load(self.path, allow_pickle=False)
            self.names = [name.removeprefix(ALIAS) for name in self.npz.files]
            self.aliases = {n.removeprefix(ALIAS): str(self.npz[n]) for n in self.npz.files if n.startswith(ALIAS)}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
            raise UserError(f"{path}: cannot be read as npz: {error}") from error
        self.known, self.kept = set(self.names), {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.kept:
            return self.kept[name]
        array = self.npz[self.aliases.get(name, name)]
        if array.nbytes <= SMALL:
            array.flags.writeable = False  # a later call gets the same array
            self.kept[name] = array
        return array

    def __contains__(self, name: object) -> bool:
        return name in self.known  # Mapping's own method would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def under(self, prefix: str) -> dict[str, str]:
        """{rest: name} of the names that begin with `prefix`, in the order they were written."""
        return {name.removeprefix(prefix): name for name in self.names if name.startswith(prefix)}

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix`, under the rest of the name."""
        return {rest: self[name] for rest, name in self.under(prefix).items()}


def steps_of(arrays: Mapping[str, np.ndarray]) -> list[int]:
    """The steps, counted from 1, whose states or results these arrays hold."""
    return sorted({int(name.partition("/")[0]) for name in arrays})


class Probe:
    """One framework's folder: `about` is probe.json; `batches`, `eval` and `train` are its arrays. `name` is its name
    in messages where the framework's name says too little: jittor-stock.

    `anchors` and `final` are None without a trajectory. Only the first framework has a `referee`; it is None elsewhere.
    `nudged` and `nudged_anchors` hold the files of NUDGED and NUDGED_ANCHORS that exist; they are empty for the others.
    An array file may be empty: `average` without an average, `referee` without float64; then they are None too.
    """

    def __init__(self, folder: str | Path, name: str | None = None):
        self.folder = Path(folder)
        self.about: dict[str, Any] = read_json(self.folder / "probe.json")
        self.framework: str = name or self.about["framework"]
        self.batches, self.eval, self.train = (
            Arrays(self.folder / f"{name}.npz") for name in ("batches", "eval", "train")
        )
        self.anchors, self.final, self.average, self.referee = (
            self._present(name) for name in ("anchors", "final", "average", "referee")
        )
        self.nudged, self.nudged_anchors = (
            [arrays for name in found if (arrays := self._present(name)) is not None]
            for found in (NUDGED, NUDGED_ANCHORS)
        )
        self.average, self.referee = self.average or None, self.referee or None

    def _present(self, name: str) -> Arrays | None:
        file = self.folder / f"{name}.npz"
        return Arrays(file) if file.exists() else None

    @property
    def again(self) -> list[Arrays]:
        """More versions of `train` that rounding alone makes different: after changes of last bits, and in float64."""
        return self.nudged + ([self.referee] if self.referee is not None else [])

    def untrained(self) -> "Probe":
        """The same probe without its records of a training."""
        short = copy.copy(self)
        settings = {key: value for key, value in self.about["settings"].items() if key != "trajectory"}
        about = {key: value for key, value in self.about.items() if key not in ("trajectory", "shadow", "evaluation")}
        short.about = about | {"settings": settings}
        short.anchors, short.nudged_anchors, short.final = None, [], None
        return short
