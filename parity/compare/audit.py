"""The fairness audit: are two runs equal in everything but the framework?

Compares the run.json of both runs row by row. A row is *equal*, *different* (with both values) or *not recorded*.
There are three kinds of rows:

observed     seen during the run: what the framework was given, and what it reported about itself
configured   asked for by the configuration; equal files make these rows equal, whatever happened in the runs
information  versions, host, times; they decide nothing

Observed and configured rows decide the headline. One that was not recorded counts against comparability, because
nobody can check it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parity.align.tolerances import TOLERANCES
from parity.compare.comparison import Comparison, Run
from parity.files import leaves

EQUAL, DIFFERENT, MISSING = "equal", "different", "not recorded"
RECORDED = "recorded"  # only one framework ran, so there is nothing to compare it with
OBSERVED, CONFIGURED, INFORMATION = "observed", "configured", "information"
_ABSENT = object()


@dataclass(frozen=True)
class Row:
    """One line of the audit. `values` maps a framework to its value as text, `detail` says what differs."""

    name: str
    kind: str
    status: str
    values: dict[str, str]
    detail: str

    @property
    def matters(self) -> bool:
        return self.kind != INFORMATION

    @property
    def bad(self) -> bool:
        return self.matters and self.status in (DIFFERENT, MISSING)


@dataclass(frozen=True)
class Audit:
    """`comparable` is None with fewer than two frameworks: then there is nothing to compare."""

    comparable: bool | None
    headline: str
    rows: list[Row]

    @property
    def bad(self) -> list[Row]:
        return [row for row in self.rows if row.bad]

    def count(self, kind: str) -> int:
        """Number of rows of one kind."""
        return sum(row.kind == kind for row in self.rows)


def _key(*path: str) -> Callable[[Run], Any]:
    """Read a nested key of run.json; `_ABSENT` when a part is missing. A stored null is a value ("none")."""

    def read(run: Run) -> Any:
        value: Any = run.manifest or {}
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return _ABSENT
            value = value[part]
        return value

    return read


def _first_step(key: str) -> Callable[[Run], Any]:
    """A number of the first step in metrics.jsonl."""

    def read(run: Run) -> Any:
        value = run.steps[0].get(key) if run.steps else None
        return _ABSENT if value is None else value

    return read


# Relative. The ladder finds small faults and measures how far rounding goes. This limit finds runs that trained
# something else.
FIRST_LOSS = TOLERANCES["anchor"].limit
# The first step starts at untrained weights, where boxes and ReLUs lie exactly on kinks and rounding decides the
# gradient: the two frameworks' norms of a small RT-DETR differ by 1.9e-3. A step on another batch differs by far more.
FIRST_NORM = 1e-2

# name of the row for people -> where its value is recorded
WATCHED: dict[str, Callable[[Run], Any]] = {
    "weights after loading": _key("observed", "state_sha256"),
    "trainable parameters": _key("parameters", "trainable"),
    "parameters in total": _key("parameters", "total"),
    "parameters with buffers": _key("parameters", "with_buffers"),
    "precision in effect": _key("observed", "precision"),
    "training batches, every byte": _key("observed", "batches"),
    "validation batches, every byte": _key("observed", "validation"),
    "learning rates in the optimiser": _key("observed", "rates"),
    "clipping in the optimiser": _key("observed", "clipping"),
    "groups in the optimiser": _key("observed", "optimizer"),
    "threads in effect": _key("observed", "threads"),
    "waiting of threads": _key("observed", "environment"),
    "code of both": _key("observed", "code"),
    "loss of the first step": _first_step("total"),
    "gradient norm of the first step": _first_step("grad_norm"),
    "epochs finished": lambda run: len(run.epochs) or _ABSENT,
}
ASKED: dict[str, Callable[[Run], Any]] = {
    "model": _key("model"),
    "variant": _key("variant"),
    "number of classes": _key("num_classes"),
    "model options": _key("options"),
    "initial weights": _key("weights_sha256"),
    "continued from": lambda run: (run.manifest or {}).get("continued_from"),  # none for most runs
    "seed": _key("seed"),
    "epochs": _key("epochs"),
    "batch size": _key("batch_size"),
    "gradient accumulation": _key("accumulate"),
    "learning rate": _key("lr_digest"),
    "schedule": _key("schedule"),
    "optimiser steps": _key("lr_steps"),
    "optimiser": _key("optimizer"),
    "optimiser groups": _key("groups"),
    "gradient clipping": _key("clip_norm"),
    "EMA": _key("ema"),
    "evaluation with EMA": _key("evaluate_with_ema"),
    "loss weights": _key("loss_weights"),
    "dataset (image subset)": _key("dataset_digest"),
    "training images": _key("train_images"),
    "validation images": _key("val_images"),
    "data order": _key("plan_digest"),
    "augmentation": _key("augment"),
    "multi-scale sizes": _key("multi_scale"),
    "preprocessing": _key("preprocess"),
    "precision": _key("precision"),
    "device": _key("device"),
    "threads": _key("threads"),
}
INFORMS: dict[str, Callable[[Run], Any]] = {
    "host": _key("host"),
    "versions": _key("versions"),
    "framework options": _key("framework_options"),
    "commit": _key("commit"),
    "config digest": _key("config_digest"),
    "started": _key("started"),
    "finished": _key("finished"),
    "wall clock (s)": _key("seconds"),
    "peak memory (MB)": _key("peak_memory_mb"),
}


def audit(comparison: Comparison) -> Audit:
    """Audit of all runs of a comparison: every framework against the first, seed by seed."""
    frameworks = [name for name in comparison.frameworks if comparison.of(name)]
    seeds = {name: [run.seed for run in comparison.of(name)] for name in frameworks}
    groups = [[comparison.run(name, seed) for name in frameworks] for seed in comparison.seeds]
    complete = [group for group in groups if all(run is not None for run in group)]
    rows = [_row("seeds", OBSERVED, [(None, seeds)])] if len(frameworks) > 1 else []
    tagged = [(group[0].seed if len(complete) > 1 else None, group) for group in complete]
    for kind, table in ((OBSERVED, WATCHED), (CONFIGURED, ASKED), (INFORMATION, INFORMS)):
        for name, read in table.items():
            cells = [(seed, {run.framework: read(run) for run in group}) for seed, group in tagged]
            rows.append(_row(name, kind, cells))
    if len(frameworks) < 2:
        only = frameworks[0] if frameworks else "nothing"
        return Audit(None, f"nothing to compare: only {only} was run", rows)
    if not complete:
        return Audit(False, "not comparable: no seed was run in every framework", rows)
    return _headline(rows)


def _row(name: str, kind: str, cells: list[tuple[int | None, dict[str, Any]]]) -> Row:
    """One row from (seed, {framework: value}) cells.

    The row shows the first cell that is not equal, or the first cell when all are.
    """
    if not cells:
        return Row(name, kind, MISSING, {}, "")
    verdicts = [_compare(values, SAME.get(name, _differ)) for _, values in cells]
    order = {DIFFERENT: 0, MISSING: 1, EQUAL: 2, RECORDED: 2}
    worst = min(range(len(cells)), key=lambda i: order[verdicts[i][0]])
    seed, values = cells[worst]
    status, detail = verdicts[worst]
    if kind == INFORMATION:
        detail = ""  # the row shows the values anyway, and they decide nothing
    elif seed is not None and detail:
        detail = f"seed {seed}: {detail}"
    return Row(name, kind, status, {key: _text(value) for key, value in values.items()}, detail)


def _compare(values: dict[str, Any], differ: Callable[[Any, Any, str, str], str]) -> tuple[str, str]:
    """Status and detail of one set of values."""
    absent = [name for name, value in values.items() if value is _ABSENT]
    if absent:
        return MISSING, f"not recorded by {' and '.join(absent)}"
    if len(values) == 1:
        return RECORDED, ""
    first, *others = values
    for other in others:
        detail = differ(values[first], values[other], first, other)
        if detail:
            return DIFFERENT, detail
    return EQUAL, ""


def _differ(a: Any, b: Any, first: str, second: str) -> str:
    """The differences between two values, compared as JSON values, so that 1 equals 1.0; empty when there are none."""
    return _difference(a, b, first, second) if a != b else ""


def _differ_by(limit: float) -> Callable[[Any, Any, str, str], str]:
    """Compare two numbers by their relative difference."""

    def differ(a: float, b: float, first: str, second: str) -> str:
        gap = abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
        return "" if gap <= limit else f"{a:.6g} ({first}) vs {b:.6g} ({second}), more than {limit:g} apart"

    return differ


def _differ_in_shared(a: dict[str, str], b: dict[str, str], first: str, second: str) -> str:
    """Compare source files that both runs had loaded. A file that only one framework needs is left out."""
    files = [path for path in a if path in b]
    if not files:
        return f"no file in common between {first} and {second}"
    return _differ({path: a[path] for path in files}, {path: b[path] for path in files}, first, second)


SAME: dict[str, Callable[[Any, Any, str, str], str]] = {  # rows that are not compared for plain equality
    "loss of the first step": _differ_by(FIRST_LOSS),
    "gradient norm of the first step": _differ_by(FIRST_NORM),
    "code of both": _differ_in_shared,
}


def _difference(a: Any, b: Any, first: str, second: str) -> str:
    """The differences, leaf by leaf for objects and lists; long lists of leaves are cut."""
    left, right = dict(leaves(a)), dict(leaves(b))
    parts = []
    for key in dict.fromkeys([*left, *right]):
        x, y = left.get(key, _ABSENT), right.get(key, _ABSENT)
        if x is _ABSENT or y is _ABSENT or x != y:
            place = f"{key}: " if key else ""
            shown = ["absent" if v is _ABSENT else _text(v) for v in (x, y)]
            parts.append(f"{place}{shown[0]} ({first}) vs {shown[1]} ({second})")
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more


def _text(value: Any) -> str:
    """A value for a table cell: digests cut to 12 characters, structures summarised."""
    if value is _ABSENT:
        return "not recorded"
    if value is None:
        return "none"
    if isinstance(value, str):
        return re.sub(r"^([0-9a-f]{12})[0-9a-f]{20,}", r"\1", value)
    if isinstance(value, dict):
        if len(value) > 8:
            return f"{len(value)} entries"
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items()) or "{}"
    if isinstance(value, list):
        if len(value) > 4 or any(isinstance(item, dict) for item in value):
            return f"{len(value)} entries"
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _headline(rows: list[Row]) -> Audit:
    """The verdict in one line, naming every row that is in the way."""
    different = [f"{row.name} ({row.detail})" for row in rows if row.matters and row.status == DIFFERENT]
    missing = [row.name for row in rows if row.matters and row.status == MISSING]
    reasons = []
    if different:
        reasons.append("different " + ", ".join(different))
    if missing:
        reasons.append("not recorded: " + ", ".join(missing))
    if reasons:
        return Audit(False, "not comparable: " + "; ".join(reasons), rows)
    return Audit(True, "comparable", rows)
