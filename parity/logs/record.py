"""The neutral record of one run, whatever format its log was in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity.logs.table import Table


@dataclass(frozen=True)
class Fact:
    """Something a log says about its run, and the line where it says so (0: no line, e.g. stated by hand)."""

    value: Any
    line: int


@dataclass(frozen=True)
class Note:
    """Something that happened while reading: `code` names the sentence, `lines` where, `numbers` fill the sentence."""

    code: str
    lines: tuple[int, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Source:
    """The file a record was read from."""

    path: Path
    format: str
    sha256: str = ""
    bytes: int = 0
    lines: int = 0
    encoding: str = ""
    oddities: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """One run of a log.

    steps        key `order`: x (iterations since the start of training), epoch, iter, step, line, stamp (s), decimals
                 (of time), loss, every loss component, lr, time (s per iteration), data_time, memory (MB), grad_norm
    epochs       key `epoch`: line, mean of every step quantity over the epoch as `<name>`, its last learning rate as
                 `lr`, train_s and val_s (s), iterations logged as `n`, validation losses as `val <name>`
    evaluations  key `at` (epoch, or step where no epoch is known): epoch, step, line, and the metrics (0 to 1)
    inference    key `line`: seconds per iteration of evaluation (`time`), phase (0 validation, 1 test), stamp, iter
    facts        what the log says about the run
    """

    source: Source
    index: int = 1  # which run of the file, from 1
    of: int = 1  # how many runs the file has
    first_line: int = 0
    last_line: int = 0
    facts: dict[str, Fact] = field(default_factory=dict)
    steps: Table = field(default_factory=lambda: Table("order"))
    epochs: Table = field(default_factory=lambda: Table("epoch"))
    evaluations: Table = field(default_factory=lambda: Table("at"))
    inference: Table = field(default_factory=lambda: Table("line"))
    classes: dict[str, tuple[float, float, int]] = field(default_factory=dict)  # AP50, AP (points), line
    notes: list[Note] = field(default_factory=list)
    words: list[tuple[int, str]] = field(default_factory=list)  # (line, text) of lines that speak of simulation
    more: list[Source] = field(default_factory=list)  # further files that filled in what the first lacks

    def fact(self, name: str) -> Any:
        """A fact's value, None when the log does not say."""
        found = self.facts.get(name)
        return None if found is None else found.value

    def losses(self) -> list[str]:
        """Names of the loss components, without the total."""
        held = dict.fromkeys([*self.steps.names(), *self.epochs.names()])
        return [name for name in held if "loss" in name.lower() and name != "loss" and not name.startswith("val ")]

    def size(self) -> int:
        """How much the run holds, to find the fullest of a file."""
        return self.steps.seen + self.epochs.seen + self.evaluations.seen
