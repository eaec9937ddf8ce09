"""The fairness audit: are two runs equal in everything but the framework?

Compares run.json manifests (docs/formats.md) row by row. A row is *equal*, *different* (with both values) or *not
recorded*. Rows that matter decide the headline; rows for information (versions, host, times) never do. A row that
matters and was not recorded counts against comparability, because nobody can check it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parity.compare.comparison import Comparison, Run
from parity.files import leaves

EQUAL, DIFFERENT, MISSING = "equal", "different", "not recorded"
RECORDED = "recorded"  # by the only framework, so that there is nothing it could be equal to
_ABSENT = object()


@dataclass(frozen=True)
class Row:
    """One line of the audit. `values` maps a framework to its value as text, `detail` says what differs."""

    name: str
    matters: bool
    status: str
    values: dict[str, str]
    detail: str

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


def _key(*path: str) -> Callable[[dict], Any]:
    """Read a nested key; `_ABSENT` when any part is missing. A stored null is a value ("none"), not an absence."""

    def read(manifest: dict) -> Any:
        value: Any = manifest
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return _ABSENT
            value = value[part]
        return value

    return read


# name of the row as people say it, where it stands in run.json
MATTERS: dict[str, Callable[[dict], Any]] = {
    "model": _key("model"),
    "variant": _key("variant"),
    "number of classes": _key("num_classes"),
    "model options": _key("options"),
    "trainable parameters": _key("parameters", "trainable"),
    "parameters in total": _key("parameters", "total"),
    "parameters with buffers": _key("parameters", "with_buffers"),
    "initial weights": _key("weights_sha256"),
    "continued from": lambda manifest: manifest.get("continued_from"),  # none for most runs
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
    "first batches (preprocessing)": _key("batches_sha256"),
    "precision": _key("precision"),
    "device": _key("device"),
    "threads": _key("threads"),
}
INFORMS: dict[str, Callable[[dict], Any]] = {
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
    rows = [compare_row("seeds", True, [(None, seeds)])] if len(frameworks) > 1 else []
    rows += audit_runs(complete)
    if len(frameworks) < 2:
        only = frameworks[0] if frameworks else "nothing"
        return Audit(None, f"nothing to compare: only {only} was run", rows)
    if not complete:
        return Audit(False, "not comparable: no seed was run in every framework", rows)
    return _headline(rows)


def audit_runs(groups: list[list[Run]]) -> list[Row]:
    """Rows for groups of runs; a group holds one run per framework, all of the same seed."""
    tagged = [(group[0].seed if len(groups) > 1 else None, group) for group in groups]
    rows = []
    for matters, table in ((True, MATTERS), (False, INFORMS)):
        for name, read in table.items():
            cells = [(seed, {r.framework: read(r.manifest or {}) for r in group}) for seed, group in tagged]
            rows.append(compare_row(name, matters, cells))
    done = [(seed, {r.framework: len(r.epochs) or _ABSENT for r in group}) for seed, group in tagged]
    rows.insert(len(MATTERS), compare_row("epochs finished", True, done))
    return rows


def compare_manifests(first: dict, second: dict, names: tuple[str, str] = ("torch", "jittor")) -> Audit:
    """Audit of two manifests alone, without their metrics."""
    rows = [
        compare_row(name, matters, [(None, {names[0]: read(first), names[1]: read(second)})])
        for matters, table in ((True, MATTERS), (False, INFORMS))
        for name, read in table.items()
    ]
    return _headline(rows)


def compare_row(name: str, matters: bool, cells: list[tuple[int | None, dict[str, Any]]]) -> Row:
    """One row from (seed, {framework: value}) cells; values are compared as JSON values, so 1 equals 1.0.

    The row shows the first cell that is not equal, or the first cell when all are.
    """
    verdicts = [_compare(values) for _, values in cells]
    order = {DIFFERENT: 0, MISSING: 1, EQUAL: 2, RECORDED: 2}
    if not cells:
        return Row(name, matters, MISSING, {}, "")
    worst = min(range(len(cells)), key=lambda i: order[verdicts[i][0]])
    seed, values = cells[worst]
    status, detail = verdicts[worst]
    if not matters:
        detail = ""  # the values stand beside it and decide nothing
    elif seed is not None and detail:
        detail = f"seed {seed}: {detail}"
    return Row(name, matters, status, {key: _text(value) for key, value in values.items()}, detail)


def _compare(values: dict[str, Any]) -> tuple[str, str]:
    """Status and detail of one set of values."""
    absent = [name for name, value in values.items() if value is _ABSENT]
    if absent:
        return MISSING, f"not recorded by {' and '.join(absent)}"
    if len(values) == 1:
        return RECORDED, ""
    names = list(values)
    for other in names[1:]:
        if values[other] != values[names[0]]:
            return DIFFERENT, _difference(values[names[0]], values[other], names[0], other)
    return EQUAL, ""


def _difference(a: Any, b: Any, first: str, second: str) -> str:
    """What differs, leaf by leaf for objects and lists; long lists of leaves are cut."""
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
