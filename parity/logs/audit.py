"""The audit of imported runs: what two logs say about the conditions of their runs, row by row.

The rule is that of this project's own runs (`parity.compare.audit`): a row that matters and differs, or that a log does
not record, makes the runs not comparable, because nobody can check it.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from parity.compare.audit import DIFFERENT, EQUAL, MISSING
from parity.logs.record import Run
from parity.logs.speed import batch_of

DIGITS = 3  # significant digits in which learning rates are compared, since logs print few
RUNS_OF_RATES = 6  # stretches of equal rates that are written out


@dataclass(frozen=True)
class Cell:
    """A value from one log, and its line (0: no single line)."""

    value: Any
    line: int = 0


@dataclass(frozen=True)
class Row:
    """One line of the audit; a cell is None where the log does not say."""

    name: str
    matters: bool
    cells: tuple[Cell | None, ...]

    @property
    def status(self) -> str:
        if any(cell is None for cell in self.cells):
            return MISSING
        return EQUAL if all(cell.value == self.cells[0].value for cell in self.cells) else DIFFERENT

    @property
    def absent(self) -> list[int]:
        return [i for i, cell in enumerate(self.cells) if cell is None]


@dataclass(frozen=True)
class Audit:
    """`comparable` is None for a single log. `different` and `missing` are the rows in the way."""

    comparable: bool | None
    rows: list[Row]
    same: bool  # both sides are one and the same log

    @property
    def different(self) -> list[Row]:
        return [row for row in self.rows if row.matters and row.status == DIFFERENT]

    @property
    def missing(self) -> list[Row]:
        return [row for row in self.rows if row.matters and row.status == MISSING]


MATTERS = (
    "iterations per epoch",
    "epochs",
    "batch size",
    "highest learning rate",
    "learning rate by epoch",
    "training images",
    "validation images",
    "parameters",
    "classes",
    "GPU",
    "GPUs",
)
INFORMS = (
    "model",
    "backbone",
    "optimiser",
    "schedule",
    "evaluation iterations",
    "trainable parameters",
    "parameters in total",
    "parameters (rounded)",
    "precision",
    "seed",
    "PyTorch",
    "Jittor",
    "MMEngine",
    "MMDetection",
    "Python",
    "CPU",
    "device",
    "CUDA architecture",
    "epochs planned",
    "base learning rate",
    "total loss",
)


def audit(runs: list[Run], same: bool) -> Audit:
    """Audit of one or two runs. `same`: their logs were found to be one and the same."""
    rows = []
    for matters, names in ((True, MATTERS), (False, INFORMS)):
        for name in names:
            row = Row(name, matters, tuple(cell(run, name) for run in runs))
            if matters or any(found is not None for found in row.cells):
                rows.append(row)
    made = Audit(None, rows, same)
    if len(runs) < 2:
        return made
    return Audit(not (made.different or made.missing or same), rows, same)


def cell(run: Run, name: str) -> Cell | None:
    """The value of a log for one row of the audit."""
    if name == "epochs":
        return _epochs(run)
    if name == "batch size":
        size = batch_of(run)
        return None if size is None else Cell(size, run.facts["batch size"].line)
    if name == "highest learning rate":
        return _highest_rate(run)
    if name == "learning rate by epoch":
        return _rates(run)
    fact = run.facts.get(name)
    return None if fact is None else Cell(fact.value, fact.line)


def _epochs(run: Run) -> Cell | None:
    """Epochs that the log shows, not those that were planned."""
    for table in (run.epochs, run.evaluations):
        found = [e for e in table.column("epoch") if isfinite(e)]
        if found:
            return Cell(int(found[-1] - found[0]) + 1, int(table.column("line")[-1]))
    return None


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _highest_rate(run: Run) -> Cell | None:
    for table in (run.steps, run.epochs):
        pairs = [(v, i) for v, i in zip(table.column("lr"), table.column("line"), strict=True) if isfinite(v)]
        if pairs:
            value, line = max(pairs, key=lambda pair: pair[0])
            return Cell(rounded(value), int(line))
    return None


def _rates(run: Run) -> Cell | None:
    """The last learning rate of each epoch, equal neighbours together: "1–8: 0.01; 9–12: 0.001"."""
    epochs, rates = run.epochs.pairs("epoch", "lr")
    if not epochs:
        return None
    parts: list[list[float]] = []
    for epoch, rate in zip(epochs, map(rounded, rates), strict=True):
        if parts and parts[-1][2] == rate:
            parts[-1][1] = epoch
        else:
            parts.append([epoch, epoch, rate])
    texts = [f"{a:.0f}–{b:.0f}: {r:g}" if a != b else f"{a:.0f}: {r:g}" for a, b, r in parts]
    if len(texts) > RUNS_OF_RATES:
        texts = [*texts[:3], f"… ({len(texts) - 5})", *texts[-2:]]
    return Cell("; ".join(texts))
