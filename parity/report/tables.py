"""Every table of a report as a data frame: one function per stem of `parity.report.index.TABLES`.

Numbers stay numbers and carry their unit in the column or row name; a cell that was not recorded is empty. AP and AR
are in points (0 to 100), times in seconds unless a name says ms.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parity.align.result import coverage
from parity.compare.agreement import Agreement
from parity.compare.comparison import Comparison, Run
from parity.compare.findings import Findings, final_weights, samples
from parity.compare.quality import qualities
from parity.compare.stats import Verdict, summary
from parity.config.models import model_config, model_names, variant_names
from parity.files import atomic, leaves
from parity.measure.macs import flops
from parity.measure.processes import processes
from parity.report import quality
from parity.report.index import TABLES
from parity.train.evaluate import METRICS

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
    """Standard deviation between processes in percent, of what is compared against first."""
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

    Data from VOC files have VOC's own AP as well, which only the final weights are judged by.
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


def _profile_rows(comparison: Comparison, rows: list[tuple[str, Callable[[dict], Any]]], first: str) -> pd.DataFrame:
    """Quantities as rows, profile settings as columns, and the ratio of each to the first setting."""
    settings = list(comparison.profiles)
    frame = pd.DataFrame(
        [{first: name} | {s: read(comparison.profiles[s]) for s in settings} for name, read in rows],
        columns=[first, *settings],
    )
    for setting in settings[1:]:
        a, b = (pd.to_numeric(frame[s], errors="coerce") for s in (settings[0], setting))
        frame[f"{setting} / {settings[0]}"] = (b / a.where(a != 0)).round(4)
    return frame


def inference(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows = []
    for stage in ("total", "preprocess", "forward", "postprocess"):
        for key in ("p50", "p90", "p95", "p99", "mean", "min", "max"):

            def read(profile: dict, stage: str = stage, key: str = key) -> float | None:
                value = summary(samples(profile, "latency", stage))[key]
                return None if value is None else 1000 * value

            rows.append((f"{stage} {key} (ms)", read))
    rows.append(("images per second at the median", lambda p: _inverse(summary(samples(p, "latency", "total"))["p50"])))
    rows.append(("throughput (images/s)", lambda p: (p.get("throughput") or {}).get("inference_images_per_second")))
    rows.append(("samples", lambda p: len(samples(p, "latency", "total"))))
    rows.append(("first forward pass (s)", lambda p: (p.get("first") or {}).get("forward")))
    return _profile_rows(comparison, rows, "quantity")


def training_speed(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows: list[tuple[str, Callable[[dict], Any]]] = []
    for part in ("step", "data", "forward_backward", "optimizer"):

        def read(profile: dict, part: str = part) -> float | None:
            value = summary(samples(profile, "train", part))["p50"]
            return None if value is None else 1000 * value

        rows.append((f"{part.replace('_', ' + ')} p50 (ms)", read))
    rows.append(("step p95 (ms)", lambda p: _milli(summary(samples(p, "train", "step"))["p95"])))
    rows.append(("throughput (images/s)", lambda p: (p.get("throughput") or {}).get("train_images_per_second")))
    rows.append(("batch size", lambda p: (p.get("train") or {}).get("batch_size")))
    rows.append(("samples", lambda p: len(samples(p, "train", "step"))))
    for key, label in (("import", "import of the framework"), ("build", "building the model"), ("step", "first step"),
                       ("second_step", "second step")):  # fmt: skip
        rows.append((f"{label} (s)", lambda p, key=key: (p.get("first") or {}).get(key)))
    return _profile_rows(comparison, rows, "quantity")


def memory(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows = [
        ("inference peak (MB)", lambda p: (p.get("memory") or {}).get("inference_peak_mb")),
        ("training peak (MB)", lambda p: (p.get("memory") or {}).get("train_peak_mb")),
        ("meter", lambda p: (p.get("memory") or {}).get("meter")),
    ]
    return _profile_rows(comparison, rows, "quantity")


def model_size(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    rows = [
        (label, lambda p, key=key: (p.get("parameters") or {}).get(key))
        for key, label in (
            ("trainable", "trainable parameters"), ("total", "parameters"), ("with_buffers", "parameters with buffers"),
        )
    ]  # fmt: skip
    rows.append(("multiply-accumulates of one image", lambda p: (p.get("macs") or {}).get("value")))
    rows.append(("FLOPs of one image (2 x multiply-accumulates)", lambda p: flops((p.get("macs") or {}).get("value"))))
    rows.append(("counting rule", lambda p: (p.get("macs") or {}).get("rule")))
    rows.append(("input", lambda p: "x".join(map(str, p.get("input") or []))))
    rows.append(("weights file (MB)", lambda p: p["weights_bytes"] / 1e6 if p.get("weights_bytes") else None))
    return _profile_rows(comparison, rows, "quantity")


def conversion(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """One row per tensor of the conversion report."""
    rows = [
        {key: "x".join(map(str, value)) if isinstance(value, list) else value for key, value in entry.items()}
        for entry in (comparison.conversion or {}).get("tensors") or []
    ]
    return pd.DataFrame(rows, columns=None if rows else ["source", "target", "shape", "dtype"])


def alignment(comparison: Comparison, findings: Findings) -> pd.DataFrame:
    """The rungs of alignment.json, and rung 10 once more with the final weights; empty without a ladder."""
    columns = ["rung", "name", "verdict", "compared", "worst", "tolerance", "measure", "where"]
    rungs = (comparison.alignment or {}).get("rungs") or []
    if rungs:
        pairs = [(run, other) for run in comparison.runs for other in run.others() if other in run.cross]
        rungs = [*rungs, *(final_weights(run, other).record() for run, other in pairs)]
    rungs = [rung | {"compared": coverage(rung)} for rung in rungs]
    frame = pd.DataFrame([{key: rung.get(key) for key in columns} for rung in rungs], columns=columns, dtype=object)
    return frame.rename(columns={"compared": "checked"})


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

    The other column is the first official variant for `tiny`, and for an official one that variant as its file has it.
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
    "inference": inference,
    "training_speed": training_speed,
    "memory": memory,
    "model_size": model_size,
    "conversion": conversion,
    "alignment": alignment,
    "audit": audit,
    "environment": environment,
    "variant": variant,
    "config": config,
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


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _milli(value: float | None) -> float | None:
    return None if value is None else 1000 * value
