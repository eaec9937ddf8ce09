"""Records of runs, built line by line: readers add the values that they recognise; restarts are handled here."""

import re
from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Any

from parity.data.entries import AP_METRICS
from parity.logs.names import RECALLS
from parity.logs.record import Fact, Note, Run, Source
from parity.logs.settle import assign_tables, positions, to_fractions

EPOCH = 10_000_000  # more iterations than any epoch has, so that epoch * EPOCH + iteration orders all records
RECENT = 16  # records; if a position comes again this soon, a second process wrote it, not a restart
TABLES = 5000  # COCO tables that wait for their evaluation
CLASSES = 2000  # LVIS has 1203
REPEATS = 3  # so many places in a row that come again mean a restart
WORDS = 20  # lines that speak of simulation, kept per run
_HINTS = ("simulat", "mock", "fake", "dummy", "fabricat", "模拟", "虚拟", "伪造", "造假", "仿真")
_SIMULATED = re.compile(
    r"\b(?:simulat\w*|mock(?:ed|ing)?|fake[dr]?|dummy|fabricat\w*)\b|模拟|虚拟|伪造|造假|仿真", re.I
)


class Builder:
    """Collects what one file holds and cuts it into runs.

    A position (epoch, iteration) that goes back to where the run began starts another run; one that goes back part of
    the way is a restart, whose values replace those they repeat. With `processes`, lines that repeat a position of the
    last few lines come from another process and are left out.
    """

    def __init__(self, source: Source, processes: bool = False, tables_lead: bool = True):
        self.source = source
        self.processes = processes
        self.tables_lead = tables_lead  # a COCO table stands right before the evaluation line it belongs to
        self.runs: list[Run] = []
        self.run = self._begin()
        self._pending: dict[str, tuple[Any, int]] = {}  # facts between the start of a process and its first record
        self._headed = False

    # what readers call -----------------------------------------------------------------------------------------

    def fact(self, name: str, value: Any, line: int) -> None:
        """A fact that the log states about its run; the first statement counts."""
        if value is None:
            return
        if self._headed:
            self._pending.setdefault(name, (value, line))
        else:
            self._set(name, value, line)

    def header(self, line: int) -> None:
        """A process starts here: facts from now on belong to its records."""
        if self.run.size():
            self._headed = True

    def look(self, line: int, text: str) -> None:
        """See whether a line of the file speaks of simulation."""
        low = text.lower()
        if not any(hint in low for hint in _HINTS) or len(self.run.words) >= WORDS:  # most lines end here, fast
            return
        if found := _SIMULATED.search(text):
            start = max(0, found.start() - 60)
            self.run.words.append((line, " ".join(text[start : found.end() + 60].split())))

    def step(
        self,
        line: int,
        epoch: int | None,
        iteration: int | None,
        values: Mapping[str, float],
        per_epoch: int | None = None,
        step: int | None = None,
        stamp: float | None = None,
        decimals: int | None = None,
    ) -> None:
        """One line of training: `iteration` counts within the epoch, `step` over the whole run."""
        if step is None and epoch is not None and iteration is not None:
            order = float(epoch) * EPOCH + iteration
        else:
            order = float(step) if step is not None else self._last + 1
        record = (line, epoch, iteration, values, per_epoch, step, stamp, decimals)
        if order <= self._last and not self._goes_back(line, order, epoch, values, record):
            return
        self._drop_held()
        self._arrived(line)
        if per_epoch:
            self.fact("iterations per epoch", per_epoch, line)
        row: dict[str, float] = {"order": order, "line": float(line)}
        for name, value in (("epoch", epoch), ("iter", iteration), ("step", step), ("stamp", stamp)):
            if value is not None:
                row[name] = float(value)
        if decimals is not None and "time" in values:
            row["decimals"] = float(decimals)
        row |= {name: float(value) for name, value in values.items() if name != "epoch_time"}
        bad = [name for name, value in values.items() if not isfinite(value)]
        if bad:
            self._count("not a number", line)
        self._last = order
        self._recent.append(order)
        self._open_epoch(epoch)
        for name, value in values.items():
            if isfinite(value):
                total, count, _ = self._sums.get(name, (0.0, 0, 0.0))
                self._sums[name] = (total + value, count + 1, value)
        self._epoch_lines = (self._epoch_lines[0] or line, line)
        self._epoch_n += 1
        self.run.steps.add(row)

    def epoch(self, line: int, epoch: int, values: Mapping[str, float], whole: bool = True) -> None:
        """Values of an epoch: means of losses, times in seconds as `train_s` and `val_s`, `val <loss>`.

        `whole`: the line says everything about its epoch, so that the same epoch again is a repetition.
        """
        last = self._last_epoch()
        if last is not None and (epoch < last or (whole and epoch == last)):
            first = self.run.epochs.column("epoch")[0] if len(self.run.epochs) else last
            if epoch <= first:
                self._next_run()
            else:
                self._restart(line, epoch)
        if self._epoch != epoch:
            self._close_epoch()
            self._epoch = epoch
        self._arrived(line)
        for name, value in values.items():
            if isfinite(value):
                self._whole[name] = float(value)
            else:
                self._count("not a number", line)
        self._epoch_lines = (self._epoch_lines[0] or line, line)

    def evaluation(self, line: int, epoch: int | None, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Metrics of one evaluation, 0 to 1 or in points as logged (`finish` settles which)."""
        metrics = {k: float(v) for k, v in metrics.items() if k in AP_METRICS or k in RECALLS}
        if not metrics:
            return
        at = epoch if epoch is not None else step if step is not None else None
        table = self.run.evaluations
        if at is None:
            at = self._epoch if self._epoch is not None else len(table)
        last = table.column("at")[-1] if len(table) else None
        if last is not None and at < last:
            if at <= table.column("at")[0]:
                if not self._sums and not self._whole:
                    self._next_run()
            else:
                self._replaced(line, table.cut(at))
            table, last = self.run.evaluations, None
            last = table.column("at")[-1] if len(table) else None
        self._arrived(line)
        row = {"at": float(at), "line": float(line)} | metrics
        if epoch is not None:
            row["epoch"] = float(epoch)
        if step is not None:
            row["step"] = float(step)
        if last == at:
            kept = {name: table.columns[name][-1] for name in metrics if name in table.columns}
            differ = [n for n, v in kept.items() if isfinite(v) and abs(v - metrics[n]) > 0.0051 * max(1, abs(v))]
            if differ:
                self._count("two evaluations", line)
            table.complete({k: v for k, v in row.items() if k not in ("at", "line")})
        else:
            table.add(row)
        for pending_line, pending in self._tables if self.tables_lead else ():
            if all(abs(pending[k] - metrics[k]) < 0.00051 for k in AP_METRICS if k in pending and k in metrics):
                table.complete(pending)
            else:
                self._count("table differs", pending_line)
        if self.tables_lead:
            self._tables.clear()

    def coco_table(self, line: int, metrics: Mapping[str, float]) -> None:
        """A table as the COCO API prints it; it belongs to the evaluation line that follows, or to the epoch before."""
        if all(value < 0 for value in metrics.values()):
            return
        if len(self._tables) < TABLES:
            self._tables.append((line, dict(metrics)))

    def settle_table(self, line: int) -> None:
        """Training goes on, so a single table that no evaluation line has claimed belongs to the epoch before."""
        if len(self._tables) == 1 and self._epoch is not None and self.tables_lead:
            ((at, metrics),) = self._tables
            self._tables.clear()
            self.evaluation(at, self._epoch, metrics)

    def timing(
        self, line: int, phase: str, iteration: int | None, seconds: float, stamp: float | None, total: int | None
    ) -> None:
        """Seconds per iteration while evaluating."""
        if not isfinite(seconds) or seconds < 0:
            return
        self._arrived(line)
        row = {"line": float(line), "phase": float(phase == "test"), "time": seconds}
        if iteration is not None:
            row["iter"] = float(iteration)
        if stamp is not None:
            row["stamp"] = stamp
        if total is not None:
            self.fact("evaluation iterations", total, line)
        self.run.inference.add(row)

    def damaged(self, line: int) -> None:
        """A line that should be a record and is none: torn, overwritten, or of another kind."""
        self._count("damaged", line)

    def class_ap(self, line: int, name: str, ap50: float, ap: float) -> None:
        """AP50 and AP of one class, in points; the last evaluation of a run stays."""
        if len(self.run.classes) < CLASSES or name in self.run.classes:
            self.run.classes[name] = (ap50, ap, line)

    def finish(self) -> list[Run]:
        """The runs of the file, those without a single record left out; call once, at the end."""
        self._close_run()
        kept = [run for run in self.runs if run.size() or len(run.inference)]
        for index, run in enumerate(kept, 1):
            run.index, run.of = index, len(kept)
        return kept

    # positions, restarts, runs ------------------------------------------------------------------------------------

    def _begin(self) -> Run:
        run = Run(self.source)
        self.runs.append(run)
        self._last = -1.0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._epoch: int | None = None
        self._sums: dict[str, tuple[float, int, float]] = {}
        self._whole: dict[str, float] = {}
        self._epoch_lines = (0, 0)
        self._epoch_n = 0
        self._tables: list[tuple[int, dict[str, float]]] = []
        self._counts: dict[str, list[int]] = {}
        self._totals: dict[str, int] = {}
        self._held: list[tuple[float, tuple]] = []
        return run

    def _set(self, name: str, value: Any, line: int) -> None:
        if name in self.run.facts:
            before = self.run.facts[name]
            if before.value != value:
                lines = self._counts.setdefault(f"changed {name}", [])
                if not lines:
                    lines.append(before.line)
                if len(lines) < 4:
                    lines.append(line)
            return
        self.run.facts[name] = Fact(value, line)

    def _arrived(self, line: int) -> None:
        """A record of this run stands on this line."""
        if self._headed:
            self._headed = False
            for name, (value, where) in self._pending.items():
                self._set(name, value, where)
            self._pending.clear()
        self.run.first_line = self.run.first_line or line
        self.run.last_line = max(self.run.last_line, line)

    def _goes_back(
        self, line: int, order: float, epoch: int | None, values: Mapping[str, float], record: tuple
    ) -> bool:
        """Handle a step that does not come after the last one; returns False when it is to be left out."""
        steps = self.run.steps
        if order == self._last and not self.processes:  # the same step in several rows, each with other columns
            if len(steps) and steps.complete({name: float(value) for name, value in values.items()}):
                self._count("repeated", line)
            self._arrived(line)
            return False
        if self.processes and not self._headed and order in self._recent:
            return self._lagging(line, order, record)
        if not len(steps) or order <= steps.columns["order"][0]:
            self._next_run()
        else:
            self._restart(line, epoch, order)
        return True

    def _lagging(self, line: int, order: float, record: tuple) -> bool:
        """A place that was logged a few lines ago: a second process, or the start of a repetition; held until clear.

        A process that lags is interleaved with the one ahead; a restart repeats place after place. Always False.
        """
        if self._held and order <= self._held[-1][0]:
            self._drop_held()
        self._held.append((order, record))
        if len(self._held) >= REPEATS:
            held, self._held = self._held, []
            if held[0][0] <= self.run.steps.columns["order"][0]:
                self._next_run()
            else:
                self._restart(line, held[0][1][1], held[0][0])
                self._last = held[0][0] - 1
            for _, values in held:
                self.step(*values)
        return False

    def _drop_held(self) -> None:
        """Drop the values that were held back: they came from another process."""
        for _, record in self._held:
            self._count("repeated", record[0])
        self._held = []

    def _restart(self, line: int, epoch: int | None, order: float | None = None) -> None:
        """Drop what the log is about to repeat."""
        self._close_epoch()
        dropped = 0
        if order is not None:
            dropped = self.run.steps.cut(order)
        if epoch is not None:
            self.run.epochs.cut(epoch)
            if "epoch" in self.run.evaluations:
                self.run.evaluations.cut(epoch)
        self._recent.clear()
        self.run.notes.append(Note("restart", (line,), {"epoch": epoch, "dropped": dropped}))

    def _replaced(self, line: int, dropped: int) -> None:
        if dropped:
            self._count("evaluations replaced", line)

    def _next_run(self) -> None:
        pending, headed = self._pending, self._headed
        self._close_run()
        self.run = self._begin()
        self._pending, self._headed = {}, False
        if headed:
            for name, (value, where) in pending.items():
                self._set(name, value, where)

    def _close_run(self) -> None:
        run = self.run
        self._drop_held()
        self._close_epoch()
        assign_tables(run, self._tables)
        self._tables = []
        for code, lines in self._counts.items():
            count = self._totals.get(code, len(lines))
            if code.startswith("changed "):
                run.notes.append(Note("changed", tuple(lines), {"what": code.removeprefix("changed ")}))
            else:
                run.notes.append(Note(code, tuple(lines), {"count": count}))
        to_fractions(run)
        positions(run)

    def _count(self, code: str, line: int) -> None:
        """Count an event that may happen on every line, and keep the first few lines."""
        lines = self._counts.setdefault(code, [])
        self._totals[code] = self._totals.get(code, 0) + 1
        if len(lines) < 5:
            lines.append(line)

    # epochs ------------------------------------------------------------------------------------------------------

    def _last_epoch(self) -> float | None:
        if self._epoch is not None:
            return self._epoch
        return self.run.epochs.column("epoch")[-1] if len(self.run.epochs) else None

    def _open_epoch(self, epoch: int | None) -> None:
        if epoch != self._epoch:
            self._close_epoch()
            self._epoch = epoch

    def _close_epoch(self) -> None:
        """Write down the means of the epoch that has been read."""
        if self._epoch is not None and (self._sums or self._whole):
            row: dict[str, float] = {"epoch": float(self._epoch), "line": float(self._epoch_lines[1])}
            for name, (total, count, last) in self._sums.items():
                if name == "epoch_time":
                    row["train_s"] = last
                else:
                    row[name] = last if name == "lr" else total / count
            if self._epoch_n:
                row["n"] = float(self._epoch_n)
                row["first_line"] = float(self._epoch_lines[0])
            if "epoch_time" in self._whole:
                self._whole["train_s"] = self._whole.pop("epoch_time")
            row |= self._whole
            keys = self.run.epochs.column("epoch")
            if keys and keys[-1] >= self._epoch:
                self.run.epochs.cut(self._epoch)
            self.run.epochs.add(row)
        self._epoch = None
        self._sums, self._whole, self._epoch_lines, self._epoch_n = {}, {}, (0, 0), 0
