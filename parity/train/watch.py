"""Follow runs while they are trained, from their growing metrics.jsonl: `make watch`.

The newest run of each framework is followed. On a terminal one screen shows all of them. Elsewhere each new epoch is
one line, so that the output can go into a file or to another program.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from parity.config.layers import read_yaml
from parity.errors import UserError

SECONDS = 1.0  # between two looks
SILENT = 120.0  # seconds without a new line after which the screen says so: the run was killed, or does something long
SHOWN = 12  # epochs on the screen
CLEAR = "\x1b[H\x1b[2J"  # codes of a terminal: begin at the top of an empty screen
WIDTH = 26  # letters of one run's column

Record = dict[str, Any]  # a line of metrics.jsonl


@dataclass
class Followed:
    """One run, and what was read of it so far: its last step, and its epochs by number."""

    framework: str
    folder: Path
    step: Record | None = None
    epochs: dict[int, Record] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)  # of the epochs, as they stand in the file
    inode: int = 0
    offset: int = 0  # bytes read
    number: int = 0  # lines read

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def ended(self) -> bool:
        """Whether run.json is as new as the metrics. An older one is of an earlier training in the same folder."""
        try:
            return (self.folder / "run.json").stat().st_mtime_ns >= self.metrics.stat().st_mtime_ns
        except OSError:
            return False

    def silence(self) -> float:
        """Seconds since the metrics were written to."""
        try:
            return max(0.0, time.time() - self.metrics.stat().st_mtime)
        except OSError:
            return 0.0

    def planned(self) -> int | None:
        """Epochs that the run was asked for; None where its run.yaml does not say."""
        try:
            return int(read_yaml(self.folder / "run.yaml")["train"]["epochs"])
        except (UserError, KeyError, TypeError, ValueError):
            return None

    def look(self) -> list[Record]:
        """Epochs that were not there at the last look. A line that is not complete is left for the next one.

        A run that goes on after it was killed begins with a new file and its old lines; those are not new.
        Raises UserError naming a complete line that is no record.
        """
        try:
            with open(self.metrics, "rb") as handle:
                about = os.fstat(handle.fileno())
                if about.st_ino != self.inode or about.st_size < self.offset:
                    self.inode, self.offset, self.number = about.st_ino, 0, 0
                handle.seek(self.offset)
                data = handle.read()
        except FileNotFoundError:  # removed to train afresh
            return []
        except OSError as error:
            raise UserError(f"{self.metrics}: cannot be read: {error.strerror or error}") from error
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [record for line in whole.split(b"\n")[:-1] if (record := self._take(line)) is not None]

    def _take(self, line: bytes) -> Record | None:
        """Note one line. Returns its record when it is an epoch that is new or was trained again."""
        self.number += 1
        try:
            record = json.loads(line.decode("utf-8"))
            kind = record["kind"]
            place = int(record[kind])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{self.metrics}: line {self.number} is no step and no epoch") from error
        if kind == "step":
            self.step = record
            return None
        if self.texts.get(place) == line:
            return None
        for later in [epoch for epoch in self.epochs if epoch > place]:  # epochs of the training before this one
            del self.epochs[later], self.texts[later]
        self.epochs[place], self.texts[place] = record, line
        return record


def newest(root: Path, framework: str) -> Path | None:
    """Folder of the run of a framework below `root`/runs whose metrics changed last; None without any."""
    found = []
    for path in (root / "runs" / framework).glob("*/metrics.jsonl"):
        try:
            found.append((path.stat().st_mtime_ns, path.parent))
        except FileNotFoundError:  # removed meanwhile
            continue
    return max(found)[1] if found else None


def follow(
    root: Path,
    frameworks: Sequence[str],
    out: TextIO,
    screen: bool = False,
    wait: Callable[[], None] = lambda: time.sleep(SECONDS),
) -> None:
    """Show the newest run of each framework in the results of a model until all of them have ended.

    `screen`: draw one screen again and again instead of printing a line for each epoch. A framework that has no run yet
    is waited for. Raises UserError when no framework has any.
    """
    runs: dict[str, Followed] = {}
    told: set[Path] = set()
    if all(newest(root, name) is None for name in frameworks):
        raise UserError(f"{root}/runs: no run of {' or '.join(frameworks)} has begun, so there is nothing to follow")
    while True:
        for name in frameworks:
            folder = newest(root, name)
            if folder is not None and (name not in runs or runs[name].folder != folder):
                runs[name] = Followed(name, folder)
        over = {name for name, run in runs.items() if run.ended()}  # asked before reading, so that no line is missed
        for name, run in runs.items():
            lines = [epoch_text(run, record) for record in run.look()]
            if name in over and run.folder not in told:
                told.add(run.folder)
                lines.append(f"{name} {run.folder.name}: ended")
            if not screen:
                out.writelines(line + "\n" for line in lines)
        if screen:
            out.write(CLEAR + page(root, frameworks, runs, over))
        out.flush()
        if over == set(frameworks):
            return
        wait()


def epoch_text(run: Followed, record: Record) -> str:
    """One epoch as a line; AP in points."""
    seconds = record.get("seconds") or {}
    text = f"{run.framework} {run.folder.name} epoch {record['epoch']}: loss {_number(record.get('total'), '.4f')}"
    scores = record.get("metrics")
    if scores:
        text += "".join(f", {name} {_points(scores.get(name))}" for name in ("AP", "AP50", "AP75"))
    return text + "".join(f", {what} {value:.1f} s" for what, value in seconds.items())


def page(root: Path, frameworks: Sequence[str], runs: dict[str, Followed], over: set[str]) -> str:
    """The whole screen: a column for each framework, where its run is, and its last epochs."""
    found = [runs.get(name) for name in frameworks]
    places = [_place(run) for run in found]
    rows = [
        ("", list(frameworks)),
        ("run", ["-" if run is None else run.folder.name for run in found]),
        ("state", ["waiting for a run" if run is None else _state(run, run.framework in over) for run in found]),
        ("now", [place[0] for place in places]),
        ("", [place[1] for place in places]),
        ("", [""] * len(found)),
        ("epoch", [f"{'loss':>9} {'AP':>7} {'AP50':>7}"] * len(found)),
    ]
    numbers = sorted({number for run in found if run for number in run.epochs})[-SHOWN:]
    rows += [(str(number), [_epoch(run, number) for run in found]) for number in numbers]
    lines = [f"{name:<6} " + " ".join(f"{text[:WIDTH]:<{WIDTH}}" for text in texts) for name, texts in rows]
    note = "loss below: mean of the epoch; AP in points; -: not validated"
    return "\n".join([str(root), note, "", *(line.rstrip() for line in lines)]) + "\n"


def _state(run: Followed, over: bool) -> str:
    if over:
        return "ended"
    silent = run.silence()
    return "running" if silent < SILENT else f"silent for {silent / 60:.0f} min"


def _place(run: Followed | None) -> tuple[str, str]:
    """The newest step in two lines: its place, and its values."""
    if run is None or run.step is None:
        return "-", ""
    planned, seconds = run.planned(), (run.step.get("seconds") or {}).get("step")
    whole = "" if planned is None else f" of {planned}"
    speed = "" if seconds is None else f", {seconds:.3g} s a step"
    return (
        f"epoch {run.step.get('epoch', '-')}{whole}, step {run.step['step']}",
        f"loss {_number(run.step.get('total'), '.4g')}{speed}",
    )


def _epoch(run: Followed | None, number: int) -> str:
    record = run.epochs.get(number) if run else None
    if record is None:
        return ""
    scores = record.get("metrics") or {}
    values = (_number(record.get("total"), ".4f"), _points(scores.get("AP")), _points(scores.get("AP50")))
    return f"{values[0]:>9} {values[1]:>7} {values[2]:>7}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
