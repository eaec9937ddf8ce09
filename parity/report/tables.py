"""Every table of a report as a data frame: one function per stem of `parity.report.index.TABLES`.

Numbers stay numbers and carry their unit in the column or row name; a cell that was not recorded is empty. AP and AR
are in points (0 to 100), times in seconds unless a name says ms.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parity.compare.agreement import Agreement
from parity.compare.comparison import Comparison, Run
from parity.compare.findings import Findings
from parity.compare.quality import qualities
from parity.compare.stats import Verdict
from parity.data.entries import METRICS
from parity.files import atomic
from parity.report import quality, record_tables, speed_tables
from parity.report.index import TABLES

Table = Callable[[Comparison, Findings], pd.DataFrame]
VOC = {"AP50 VOC07": "AP50_voc07", "AP50 VOC10": "AP50_voc10"}  # row: the key in coco.json


def differences(frame: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Append `<second> - <first>` and `relative (%)` where the first two frameworks both have a column of numbers."""
    names = [name for name in comparison.frameworks if name in frame.columns]
    if len(names) >= 2:
        a, b = (pd.to_numeric(frame[name], errors="coerce") for name in names[:2])
        frame[f"{names[1]} - {names[0]}"] = b - a
        frame["relative (%)"] = np.where(a != 0, 100 * (b - a) / a.where(a != 0, 1).abs(), np.nan)
    return frame


def verdicts(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows = []
    if findings.ap is not None:
        rows.append(("final AP", findings.candidate, findings.ap))
    rows += [(name, setting, verdict) for (name, setting), verdict in findings.speed.items()]
    return pd.DataFrame(
        [
            {"quantity": name, "compared": setting, "against": findings.baseline, "verdict": v.verdict}
            | {"estimate": v.estimate, "low (90 %)": v.low, "high (90 %)": v.high, "unit": v.unit, "margin": v.margin}
            | {"n": v.n, "needed": v.needed, "needed if equal": v.needed_if_zero, "spread (%)": _spread(v)}
            | {"reason": v.reason}
            for name, setting, v in rows
        ],
        columns=["quantity", "compared", "against", "verdict", "estimate", "low (90 %)", "high (90 %)", "unit",
                 "margin", "n", "needed", "needed if equal", "spread (%)", "reason"],
    )  # fmt: skip


def _spread(verdict: Verdict) -> str | None:
    """Standard deviation between processes in percent, first of the side that the other is compared with."""
    return None if verdict.spread is None else " / ".join(f"{100 * value:.1f}" for value in verdict.spread)


def training(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """One row per seed and quantity, frameworks as columns."""
    rows = []
    for seed in comparison.seeds:
        values = {r.framework: _training_values(r) for r in comparison.runs if r.seed == seed}
        for quantity in dict.fromkeys(key for column in values.values() for key in column):
            row = {"seed": seed, "quantity": quantity}
            rows.append(row | {name: values.get(name, {}).get(quantity) for name in comparison.frameworks})
    frame = pd.DataFrame(rows, columns=["seed", "quantity", *comparison.frameworks])
    return differences(frame, comparison)


def _training_values(run: Run) -> dict[str, float | None]:
    manifest, losses = run.manifest or {}, [s["total"] for s in run.steps if s.get("total") is not None]
    count = manifest.get("parameters") or {}

    def seconds(key: str) -> float | None:
        found = [e["seconds"][key] for e in run.epochs if (e.get("seconds") or {}).get(key) is not None]
        return float(sum(found)) if found else None

    steps = [s["seconds"]["step"] for s in run.steps if (s.get("seconds") or {}).get("step") is not None]
    waits = [s["seconds"]["data"] for s in run.steps if (s.get("seconds") or {}).get("data") is not None]
    norms = [s["grad_norm"] for s in run.steps if s.get("grad_norm") is not None]
    return {
        "epochs finished": len(run.epochs),
        "steps": len(run.steps),
        "wall clock of the run (s)": manifest.get("seconds"),
        "time in training epochs (s)": seconds("train"),
        "time in evaluation (s)": seconds("evaluate"),
        "median step while training (s)": float(np.median(steps)) if steps else None,
        "waiting for data while training (s)": float(np.sum(waits)) if waits else None,
        "first loss": losses[0] if losses else None,
        "mean loss": float(np.mean(losses)) if losses else None,
        "mean loss of the last epoch": (run.epochs[-1] if run.epochs else {}).get("total"),
        "last loss": losses[-1] if losses else None,
        "median gradient norm before clipping": float(np.median(norms)) if norms else None,
        "peak memory while training (MB)": manifest.get("peak_memory_mb"),
        "trainable parameters": count.get("trainable"),
        "parameters with buffers": count.get("with_buffers"),
    }


def performance(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """All twelve metrics at each moment, per seed; with several seeds also their mean and standard deviation.

    Data from VOC files have VOC's own AP as well, but only for the final weights.
    """
    moments: dict[str, Callable[[Run], dict]] = {
        "final weights": lambda run: ((run.coco or {}).get("metrics") or {}) | _voc(run),
        "last epoch": lambda run: (run.epochs[-1].get("metrics") or {}) if run.epochs else {},
        "best epoch": lambda run: (run.best_epoch() or {}).get("metrics") or {},
    }
    if any(run.untrained for run in comparison.runs):
        moments["before training"] = lambda run: (run.untrained or {}).get("metrics") or {}
    rows = []
    has_voc = any(_voc(run) for run in comparison.runs)
    for moment, read in moments.items():
        for metric in (*METRICS, *(VOC if has_voc and moment == "final weights" else ())):
            found: dict[str, list[float]] = {name: [] for name in comparison.frameworks}
            for seed in comparison.seeds:
                row: dict[str, Any] = {"moment": moment, "seed": str(seed), "metric": metric}
                for name in comparison.frameworks:
                    run = comparison.run(name, seed)
                    value = read(run).get(metric) if run else None
                    row[name] = 100 * value if value is not None and value >= 0 else None
                    found[name] += [row[name]] if row[name] is not None else []
                rows.append(row)
            if len(comparison.seeds) > 1:
                base = {"moment": moment, "metric": metric}
                rows.append(base | {"seed": "mean"} | {n: float(np.mean(v)) if v else None for n, v in found.items()})
                deviation = {n: float(np.std(v, ddof=1)) if len(v) > 1 else None for n, v in found.items()}
                rows.append(base | {"seed": "std"} | deviation)
    frame = pd.DataFrame(rows, columns=["moment", "seed", "metric", *comparison.frameworks])
    return differences(frame, comparison)


def _voc(run: Run) -> dict[str, float | None]:
    """VOC's AP of the final weights by its name here; empty for data of another kind."""
    found = ((run.coco or {}).get("voc") or {}).get("metrics") or {}
    return {name: found[key] for name, key in VOC.items() if key in found}


def per_epoch(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """One row per framework, seed and epoch: mean losses, metrics in points, times, memory."""
    rows = []
    for run in comparison.runs:
        for epoch in run.validated():
            row = {"framework": run.framework, "seed": run.seed, "epoch": epoch["epoch"], "total": epoch.get("total")}
            row |= {m: _points((epoch.get("metrics") or {}).get(m)) for m in METRICS}
            seconds = epoch.get("seconds") or {}
            row |= {"train (s)": seconds.get("train"), "evaluate (s)": seconds.get("evaluate")}
            rows.append(row | {"peak memory (MB)": epoch.get("peak_memory_mb")} | (epoch.get("losses") or {}))
    return pd.DataFrame(rows, columns=None if rows else ["framework", "seed", "epoch", "total", *METRICS])


def per_class(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """AP and AP50 in points of the final weights, mean over seeds, frameworks side by side."""
    table: dict[Any, dict] = {}
    for run in comparison.runs:
        for entry in (run.coco or {}).get("per_class") or []:
            row = table.setdefault(
                entry["id"], {"id": entry["id"], "name": entry["name"], "instances": entry["instances"]}
            )
            for metric in ("AP", "AP50"):
                row.setdefault((metric, run.framework), []).append(_points(entry.get(metric)))
    columns = ["id", "name", "instances", *(f"{m} {name}" for m in ("AP", "AP50") for name in comparison.frameworks)]
    rows = []
    for row in table.values():
        line = {key: row[key] for key in ("id", "name", "instances")}
        for metric in ("AP", "AP50"):
            for name in comparison.frameworks:
                values = [v for v in row.get((metric, name), []) if v is not None]
                line[f"{metric} {name}"] = float(np.mean(values)) if values else None
        rows.append(line)
    frame = pd.DataFrame(rows, columns=columns)
    if len(comparison.frameworks) > 1:
        a, b = comparison.frameworks[:2]
        frame["AP difference"] = frame[f"AP {b}"] - frame[f"AP {a}"]
    return frame


def same_weights(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows = []
    for check in findings.same_weights:
        boot = check.bootstrap
        rows.append(
            {"weights of": check.trained, "seed": check.seed, "AP by own framework": _points(check.own_ap)}
            | {
                "AP by other": _points(check.other_ap),
                "other": check.other,
                "difference": _points(check.difference, True),
            }
            | {"low (95 %)": _points(boot.low, True) if boot else None}
            | {"high (95 %)": _points(boot.high, True) if boot else None}
            | {"resamples": boot.samples if boot else None, "identical detections": boot.identical if boot else None}
            | {"images": boot.images if boot else None}
            | {"detections of both": check.agreement.matched if check.agreement else None}
            | {"of one only": _single(check.agreement)}
        )
    columns = ["weights of", "seed", "AP by own framework", "AP by other", "other", "difference", "low (95 %)",
               "high (95 %)", "resamples", "identical detections", "images", "detections of both",
               "of one only"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _single(found: Agreement | None) -> int | None:
    """Detections that only one of the two made."""
    return None if found is None else found.first_only + found.second_only


MAKE: dict[str, Table] = {
    "verdicts": verdicts,
    "training": training,
    "performance": performance,
    "per_epoch": per_epoch,
    "per_class": per_class,
    "precision_recall": lambda comparison, findings: quality.precision_recall(qualities(comparison)[0]),
    "best_f1": lambda comparison, findings: quality.best_f1(qualities(comparison)[0]),
    "confusion": lambda comparison, findings: quality.confusion(qualities(comparison)[0]),
    "same_weights": same_weights,
    "inference": speed_tables.inference,
    "training_speed": speed_tables.training_speed,
    "memory": speed_tables.memory,
    "model_size": speed_tables.model_size,
    "conversion": record_tables.conversion,
    "alignment": record_tables.alignment,
    "stock": record_tables.stock,
    "precision": record_tables.precision,
    "whole_run": record_tables.whole_run,
    "audit": record_tables.audit,
    "environment": record_tables.environment,
    "variant": record_tables.variant,
    "config": record_tables.config,
}


def make_all(comparison: Comparison, findings: Findings) -> dict[str, pd.DataFrame]:
    """Every table by stem, in the order of the index."""
    return {stem: MAKE[stem](comparison, findings) for stem in TABLES}


def write_all(tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write `<stem>.csv`; at most 8 significant digits, empty cells for what was not recorded."""
    written = []
    for stem, frame in tables.items():
        path = Path(folder) / f"{stem}.csv"
        with atomic(path) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.8g", lineterminator="\n")
        written.append(path)
    return written


def _points(value: float | None, signed: bool = False) -> float | None:
    """0..1 to points; None for null, NaN and, unless signed, COCO's -1."""
    if value is None or np.isnan(value) or (not signed and value < 0):
        return None
    return 100 * float(value)
