"""Tables of the measurements: inference, training speed, memory, size. Times in ms where a name says so, else in s."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from parity.compare.comparison import Comparison
from parity.compare.findings import Findings, samples
from parity.compare.stats import summary
from parity.measure.macs import flops


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


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _milli(value: float | None) -> float | None:
    return None if value is None else 1000 * value
