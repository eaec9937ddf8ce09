"""Tables of the records beside the results: conversion, alignment, audit, environment, configuration."""

from typing import Any

import numpy as np
import pandas as pd

from parity.align.result import coverage
from parity.compare.comparison import Comparison
from parity.compare.findings import Findings, final_weights
from parity.config.models import model_config, model_names, variant_names
from parity.files import leaves
from parity.measure.processes import processes


def conversion(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """One row per tensor of the conversion report."""
    rows = [
        {key: "x".join(map(str, value)) if isinstance(value, list) else value for key, value in entry.items()}
        for entry in (comparison.conversion or {}).get("tensors") or []
    ]
    return pd.DataFrame(rows, columns=None if rows else ["source", "target", "shape", "dtype"])


def alignment(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """The ladder, the result of the steps over the whole training, and rung 10 once more with the final weights.

    Empty without a ladder.
    """
    rungs = comparison.rungs
    if rungs:
        pairs = [(run, other) for run in comparison.runs for other in run.others() if other in run.cross]
        rungs = [*rungs, *(final_weights(run, other).record() for run, other in pairs)]
    return _rungs(rungs)


def stock(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """The ladder of Jittor's own operators; empty where it was not run."""
    return _rungs((comparison.stock or {}).get("rungs") or [])


def _rungs(rungs: list[dict[str, Any]]) -> pd.DataFrame:
    columns = ["rung", "name", "verdict", "compared", "worst", "tolerance", "measure", "where"]
    rungs = [rung | {"compared": coverage(rung)} for rung in rungs]
    frame = pd.DataFrame([{key: rung.get(key) for key in columns} for rung in rungs], columns=columns, dtype=object)
    return frame.rename(columns={"compared": "checked"})


def precision(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """One row for each setting that is compared with the first framework and each quantity computed in float64 too."""
    columns = ["quantity", "setting", "checked", "distance of the first", "distance", "ratio", "where"]
    rows = []
    for alignment in (comparison.alignment, comparison.stock):
        found = (alignment or {}).get("precision") or {}
        for row in found.get("rows") or []:
            distances = [row["distances"].get(name) for name in found["frameworks"]]
            checked = f"{row['compared']} of {row['expected']}"
            rows.append([row["what"], found["frameworks"][1], checked, *distances, row["ratio"], row["where"]])
    return pd.DataFrame(rows, columns=columns)


def whole_run(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """Relative differences at every step: signed ones of loss and way along the gradient, medians of the others."""
    curves = (comparison.whole_run or {}).get("curves") or {}
    columns = {"steps": "step", "loss": "loss, signed", "gradient": "median gradient", "update": "median update"}
    columns |= {"along": "along the gradient, signed"}
    return pd.DataFrame({title: curves.get(key) or [] for key, title in columns.items()})


def audit(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    names = [name for name in comparison.frameworks if comparison.of(name)]
    return pd.DataFrame(
        [
            {"row": row.name, "kind": row.kind, "status": row.status}
            | {name: row.values.get(name) for name in names}
            | {"detail": row.detail}
            for row in findings.audit.rows
        ],
        columns=["row", "kind", "status", *names, "detail"],
    )


def environment(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """Long form: what was recorded (a run or a profile), key, value."""
    rows = [("project", "commit", comparison.commit), ("project", "configuration digest", comparison.config_digest())]
    data = comparison.dataset or {}
    rows += [("dataset", "source", comparison.source_name())]
    rows += [("dataset", key, data.get(key)) for key in ("name", "digest")]
    if isinstance(data.get("source"), dict):
        rows += [("dataset", f"source {key}", value) for key, value in data["source"].items() if key != "source"]
    for split, part in (data.get("splits") or {}).items():
        rows += [("dataset", f"{split} {key}", part.get(key)) for key in ("images", "annotations", "crowd", "empty")]
    keys = ("commit", "config_digest", "dataset_digest", "weights_sha256", "plan_digest", "device", "threads",
            "precision", "started", "finished", "seconds", "restarts")  # fmt: skip
    for run in comparison.runs:
        what, manifest = f"run {run.framework} seed {run.seed}", run.manifest or {}
        rows += [(what, key, manifest.get(key)) for key in keys]
        rows += [(what, f"version {key}", value) for key, value in (manifest.get("versions") or {}).items()]
        rows += [(what, f"host {key}", value) for key, value in (manifest.get("host") or {}).items()]
    for setting, profile in comparison.profiles.items():
        what = f"profile {setting}"
        rows += [(what, key, profile.get(key)) for key in ("device", "threads")]
        rows += [(what, f"version {key}", value) for key, value in (profile.get("versions") or {}).items()]
        rows += [(what, f"host {key}", value) for key, value in (profile.get("host") or {}).items()]
        rows += [(what, f"load {key}", value) for key, value in (profile.get("load") or {}).items()]
        for number, process in enumerate(processes(profile), 1):
            for section, cores in (process.get("others") or {}).items():
                rows.append((what, f"cores busy with something else, {section}, process {number}", cores))
            rows.append((what, f"span of process {number}", " to ".join(map(str, process.get("span") or [])) or None))
        for section, times in (profile.get("machine") or {}).items():
            rows.append(
                (what, f"fixed computation beside {section}, median (ms)", round(1e3 * float(np.median(times)), 3))
            )
    return pd.DataFrame([row for row in rows if row[2] is not None], columns=["of", "key", "value"])


def variant(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """The settings that differ from an official configuration.

    For `tiny` the other column is the first official variant. For an official variant it is that variant as its file
    has it.
    """
    names = variant_names(comparison.model) if comparison.model in model_names() else []
    other = comparison.variant if comparison.variant != "tiny" else next((n for n in names if n != "tiny"), None)
    if other not in names or not comparison.config:
        return pd.DataFrame(columns=["setting", "here", "official"])
    official, here = model_config(comparison.model, other).plain(), comparison.config
    rows = []
    for section in ("options", "preprocess", "train"):
        sides = [dict(_settings(side.get(section) or {}, section)) for side in (here, official)]
        keys = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if key != "options.num_classes"]
        rows += [
            (key, *(side.get(key, "–") for side in sides)) for key in keys if len({str(s.get(key)) for s in sides}) > 1
        ]
    return pd.DataFrame(rows, columns=["setting", comparison.variant if other != comparison.variant else "here", other])


def _settings(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings, null as text."""
    return [(key, "null" if item is None else item) for key, item in leaves(value, prefix, whole_lists=True)]


def config(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    return pd.DataFrame(_settings(comparison.config) if comparison.config else [], columns=["key", "value"])
