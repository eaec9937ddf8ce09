"""The rows of a study: docs/study/<model>.csv, one line for each run, whether it ended or failed.

Rows are only ever added. The whole file is written anew under a temporary name and renamed, so that a kill leaves
either the old file or the new one.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from parity.errors import UserError
from parity.files import write_text

SCORES = ("AP", "AP50", "AP75", "AR100", "APs", "APm", "APl")  # in points, 0 to 100
METRICS = (*SCORES, "loss")
FRAMEWORKS = ("torch", "jittor")
ARMS = ("main", "null", "pilot")
# Columns that all compared runs must share, and their names in error messages.
SHARED = {
    "code": "code",
    "configuration": "configuration",
    "data": "data",
    "base": "common checkpoint",
    "versions": "versions",
}


@dataclass(frozen=True)
class Key:
    """The identity of a run. Each key has one finished row at most."""

    start: str
    recipe: str
    arm: str
    seed: int
    draw: int
    last_bits: str
    framework: str
    configuration: str


@dataclass(frozen=True)
class Row:
    """One run.

    arm       main (draw 0), null (draws 1, 2, ...: other last bits of the initial weights) or pilot (never counted)
    start     the recipe's name: from scratch or from the common checkpoint
    recipe    the pilot's name; empty for counted runs
    last_bits which initial values were changed: none, all, zeros or nonzeros
    status    done or failed
    AP...     points (0 to 100) of the final weights on the exam; None where nothing was measured or the run failed
    loss      mean of the training loss on the exam's first images
    code...   digests (16 digits) of the framework's code, the configuration, both datasets, the common checkpoint, the
              initial and the final weights
    seconds   of training and exam
    """

    seed: int
    framework: str
    arm: str
    start: str
    draw: int
    last_bits: str
    recipe: str
    status: str
    AP: float | None
    AP50: float | None
    AP75: float | None
    AR100: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    loss: float | None
    code: str
    configuration: str
    data: str
    base: str
    initial_weights: str
    final_weights: str
    versions: str
    machine: str
    seconds: float | None
    finished: str
    reason: str

    @property
    def key(self) -> Key:
        return Key(*(getattr(self, field.name) for field in fields(Key)))

    @property
    def done(self) -> bool:
        return self.status == "done"


COLUMNS = [field.name for field in fields(Row)]
NUMBERS = {int: "a whole number", float | None: "a finite number or nothing"}
ALLOWED = {"framework": FRAMEWORKS, "arm": ARMS, "status": ("done", "failed")}


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file, none where there is no file. Raises UserError naming line and column at fault, and for two
    finished rows of one run."""
    path = Path(path)
    if not path.exists():
        return []
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not lines or lines[0] != COLUMNS:
        found = ",".join(lines[0]) if lines else "missing"
        raise UserError(f"{path}: line 1: the columns are {found}, expected {','.join(COLUMNS)}")
    rows = [_row(f"{path}: line {number}", cells) for number, cells in enumerate(lines[1:], 2)]
    seen: dict[Key, int] = {}
    for number, row in enumerate(rows, 2):
        if row.done and row.key in seen:
            raise UserError(f"{path}: line {number}: repeats the run of line {seen[row.key]}, expected each run once")
        if row.done:
            seen[row.key] = number
    return rows


def _row(where: str, cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise UserError(f"{where}: has {len(cells)} cells, expected {len(COLUMNS)}")
    values: dict[str, object] = {}
    for field, cell in zip(fields(Row), cells, strict=True):
        try:
            values[field.name] = _value(cell, field.type)
        except ValueError:
            raise UserError(f"{where}: {field.name} is {cell!r}, expected {NUMBERS[field.type]}") from None
        if field.name in ALLOWED and cell not in ALLOWED[field.name]:
            raise UserError(f"{where}: {field.name} is {cell!r}, expected one of {', '.join(ALLOWED[field.name])}")
    row = Row(**values)
    if row.done and row.AP is None:
        raise UserError(f"{where}: AP is empty in a finished run, expected points")
    return row


def _value(cell: str, kind: object) -> object:
    if kind == float | None:
        value = float(cell) if cell else None
        if value is not None and not abs(value) < float("inf"):
            raise ValueError(cell)
        return value
    return int(cell) if kind is int else cell


def write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    """Write a file of rows, atomically. Numbers are written in full, so that reading gives the same ones back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if value is None else value for value in asdict(row).values()])
    write_text(path, text.getvalue())


def append(path: str | Path, row: Row) -> None:
    """Add one row. Raises UserError where the run has a finished row already."""
    rows = read_rows(path)
    if any(other.done and other.key == row.key for other in rows):
        raise UserError(f"{path}: holds a finished run of {row.key} already")
    write_rows(path, [*rows, row])


def counted(rows: Iterable[Row], start: str) -> list[Row]:
    """The rows that a verdict is based on."""
    return [row for row in rows if row.start == start and row.arm != "pilot"]


def check_shared(rows: Iterable[Row], where: str | Path) -> None:
    """Raise UserError, naming the digest, where counted rows of one start differ in a value that they must share.

    Code and versions are compared within a framework, the rest across both. Initial weights are compared within a seed
    and draw: both frameworks start from one file.
    """
    rows = list(rows)
    for name, called in SHARED.items():
        own = name in ("code", "versions")
        first: dict[tuple, Row] = {}
        for row in rows:
            if name == "versions" and not row.done:  # a run that failed may have left no record
                continue
            other = first.setdefault((row.start, row.framework if own else ""), row)
            if getattr(other, name) != getattr(row, name):
                raise UserError(
                    f"{where}: {name}: the {called} of {row.framework} seed {row.seed} draw {row.draw} ({row.start}) is"
                    f" {getattr(row, name)}, but {getattr(other, name)} for {other.framework} seed {other.seed} draw"
                    f" {other.draw}; a study has one"
                )
    starts: dict[tuple, Row] = {}
    for row in rows:
        other = starts.setdefault((row.start, row.seed, row.draw), row)
        if other.initial_weights != row.initial_weights:
            raise UserError(
                f"{where}: initial_weights: seed {row.seed} draw {row.draw} ({row.start}) began with"
                f" {row.initial_weights} in {row.framework} and {other.initial_weights} in {other.framework}"
            )
