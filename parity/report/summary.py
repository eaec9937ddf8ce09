"""Models and frameworks side by side: the tables of `results/summary/report.md`, from the comparisons of the models.

A row is one model in one framework. Only what was measured is shown: a model without a profile keeps its row, with
empty cells. Models are trained with their own hyper-parameters, so what they do not share is listed beside the numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parity.compare.comparison import Comparison
from parity.compare.findings import DISTURBED, Findings, samples
from parity.errors import UserError
from parity.files import atomic, write_text
from parity.measure.macs import flops
from parity.report.report import called, environment, frame, language_of, to_html

Entry = tuple[Comparison, Findings]


@dataclass(frozen=True)
class Point:
    """One model in one framework on the plane of AP (points) against latency (median, milliseconds per image)."""

    model: str
    framework: str
    latency: float
    ap: float


def overview(entries: list[Entry]) -> pd.DataFrame:
    """One row per model and framework: accuracy (mean over seeds, points), speed, memory, size."""
    rows = []
    for comparison, _ in entries:
        for name in comparison.frameworks:
            profile = comparison.profiles.get(name) or {}
            macs = (profile.get("macs") or {}).get("value")
            rows.append(
                {"model": comparison.title, "variant": comparison.variant, "framework": name}
                | {"seeds": len(comparison.of(name))}
                | {"AP": _mean(comparison, name, "AP"), "AP50": _mean(comparison, name, "AP50")}
                | {"inference p50 (ms)": _median(profile, "latency", "total")}
                | {"training step p50 (ms)": _median(profile, "train", "step")}
                | {"inference peak (MB)": (profile.get("memory") or {}).get("inference_peak_mb")}
                | {"training peak (MB)": (profile.get("memory") or {}).get("train_peak_mb")}
                | {"trainable parameters": (profile.get("parameters") or {}).get("trainable")}
                | {"MACs of one image": macs, "FLOPs of one image (2 x MACs)": flops(macs)}
            )
    return pd.DataFrame(rows)


def verdicts(entries: list[Entry]) -> pd.DataFrame:
    """One row per model: what the alignment ladder, the audit and the equivalence tests say."""
    rows = []
    for comparison, findings in entries:
        speed = findings.speed.get(("inference latency", findings.candidate or ""))
        rows.append(
            {"model": comparison.title, "variant": comparison.variant}
            | {"alignment": alignment_verdict(comparison), "audit": findings.audit.headline}
            | {"AP difference": findings.ap.estimate if findings.ap else None}
            | {"AP verdict": findings.ap.verdict if findings.ap else None}
            | {"latency ratio": speed.estimate if speed else None}
            | {"latency verdict": speed.verdict if speed else None}
        )
    return pd.DataFrame(rows)


def conditions(entries: list[Entry]) -> pd.DataFrame:
    """One row per model: the conditions under which it was trained and measured."""
    rows = []
    for comparison, _ in entries:
        manifest: dict = next((run.manifest for run in comparison.runs if run.manifest), {})
        profile: dict = next(iter(comparison.profiles.values()), {})
        rows.append(
            {"model": comparison.title, "variant": comparison.variant}
            | {"dataset": (comparison.dataset or {}).get("name")}
            | {"training images": manifest.get("train_images"), "validation images": manifest.get("val_images")}
            | {"epochs": manifest.get("epochs"), "batch": manifest.get("batch_size")}
            | {"input": "x".join(map(str, profile.get("input") or [])) or None}
            | {"device": manifest.get("device"), "threads": manifest.get("threads")}
        )
    return pd.DataFrame(rows)


TABLES: dict[str, Callable[[list[Entry]], pd.DataFrame]] = {
    "overview": overview,
    "verdicts": verdicts,
    "conditions": conditions,
}


def alignment_verdict(comparison: Comparison) -> str:
    """ "passed", "failed at 6 gradients", "incomplete at 10 AP ...", "not compared" or "not run"."""
    if comparison.alignment is None:
        return "not run"
    for verdict, word in (("fail", "failed"), ("incomplete", "incomplete")):
        found = [
            f"{rung.get('rung')} {rung.get('name')}" for rung in comparison.rungs if rung.get("verdict") == verdict
        ]
        if found:
            return f"{word} at {', '.join(found)}"
    return "passed" if comparison.alignment.get("passed") else "not compared"


def points(entries: list[Entry]) -> list[Point]:
    """Every model in every framework that has both an AP and a latency."""
    found = []
    for comparison, _ in entries:
        for name in comparison.frameworks:
            ap = _mean(comparison, name, "AP")
            latency = _median(comparison.profiles.get(name) or {}, "latency", "total")
            if ap is not None and latency is not None:
                found.append(Point(comparison.title, name, latency, ap))
    return found


def front(candidates: list[Point]) -> list[Point]:
    """The points that no other one beats in both AP and latency, from the fastest to the slowest."""
    best: list[Point] = []
    for point in sorted(candidates, key=lambda p: (p.latency, -p.ap)):
        if not best or point.ap > best[-1].ap:
            best.append(point)
    return best


def unshared(table: pd.DataFrame) -> dict[str, str]:
    """Conditions that the models do not share and that forbid setting their numbers side by side, with their values."""
    found = {}
    for column in ("dataset", "training images", "validation images", "epochs", "device", "threads"):
        values = [str(value) for value in table[column] if value is not None and value == value]
        if len(set(values)) > 1:
            found[column] = ", ".join(dict.fromkeys(values))
    return found


def disturbed(entries: list[Entry]) -> dict[str, str]:
    """Models about whose speed nothing can be concluded, and why."""
    found = {}
    for comparison, findings in entries:
        verdict = findings.speed.get(("inference latency", findings.candidate or ""))
        if verdict is not None and verdict.code in DISTURBED:
            found[comparison.title] = verdict.code
    return found


def machine_spread(entries: list[Entry]) -> float:
    """How many times as long the slowest measurement's fixed computation took as the fastest one's; 1 without any."""
    times = [
        float(np.median(found))
        for comparison, _ in entries
        for name in comparison.frameworks
        if (found := samples(comparison.profiles.get(name) or {}, "machine", "latency"))
    ]
    return max(times) / min(times) if times else 1.0


def write(entries: list[Entry], folder: Path) -> list[Path]:
    """Write the CSV files, report.md and report.html; the figure must lie in `<folder>/figures` already."""
    if not entries:
        raise UserError("summary: no comparison was given, expected at least one comparison.json")
    folder, language = Path(folder), language_of(entries[0][0])
    tables = {stem: make(entries) for stem, make in TABLES.items()}
    for stem, table in tables.items():
        with atomic(folder / f"{stem}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.8g", lineterminator="\n")
    markdown = render(entries, tables, language)
    write_text(folder / "report.md", markdown)
    write_text(folder / "report.html", to_html(markdown, folder, language))
    return [folder / "report.md", folder / "report.html"]


def render(entries: list[Entry], tables: dict[str, pd.DataFrame], language: str) -> str:
    """The summary as Markdown."""
    text = (
        environment()
        .get_template(f"summary.{language}.md.j2")
        .render(
            entries=entries,
            tables=tables,
            frame=frame,
            names={
                name: called(name, comparison, language) for comparison, _ in entries for name in comparison.frameworks
            },
            front=front(points(entries)),
            measured=len(points(entries)),
            unshared=unshared(tables["conditions"]),
            disturbed=disturbed(entries),
            spread=machine_spread(entries),
            margin=entries[0][0].margins["latency"],
        )
    )
    return text.strip() + "\n"


def _mean(comparison: Comparison, framework: str, metric: str) -> float | None:
    values = [value for run in comparison.of(framework) if (value := run.final(metric)) is not None]
    return 100 * float(np.mean(values)) if values else None


def _median(profile: dict[str, Any], section: str, key: str) -> float | None:
    values = samples(profile, section, key)
    return 1000 * float(np.median(values)) if values else None
