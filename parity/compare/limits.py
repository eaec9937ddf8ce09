"""Deviations and limitations of a comparison, found in its records.

Each is a code with its numbers; the sentences stand in the report's templates, one per language.
"""

from pathlib import Path
from typing import Any

import numpy as np

from parity.compare.comparison import Comparison
from parity.compare.findings import LOW_AP, Findings, busy, overlaps, profile_conditions, samples, unwatched
from parity.errors import UserError
from parity.files import read_json
from parity.measure import turns
from parity.measure.processes import processes

VERDICTS = ("fail", "incomplete")  # verdicts of a rung that limit what a report can say
FEW_SEEDS = 3  # with fewer seeds their spread is hardly known
FEW_IMAGES = 1000  # with fewer validation images AP moves by points when other images are drawn
FEW_OBJECTS = 100  # with fewer validation objects of a size, its AP depends on a few of them
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}  # COCO's, by area in pixels
LONG_PAUSE = 600  # seconds between two measuring processes; after a longer pause the machine may behave differently
FEW_SAMPLES = 100  # with fewer latency samples p99 is little more than the maximum

Limit = tuple[str, dict[str, Any]]


def limitations(comparison: Comparison, findings: Findings) -> list[Limit]:
    """(code, numbers) of everything that limits what the report can show, the gravest first."""
    return [
        *_about_the_comparison(comparison, findings),
        *_about_the_training(comparison),
        *_about_the_speed(comparison),
        *(("problem", {"text": problem}) for problem in comparison.problems),
    ]


def _about_the_comparison(comparison: Comparison, findings: Findings) -> list[Limit]:
    found: list[Limit] = []
    present = [name for name in comparison.frameworks if comparison.of(name)]
    if len(present) < 2:
        found.append(("one_framework", {"name": present[0] if present else "-"}))
    if findings.audit.comparable is False:
        found.append(("not_comparable", {"rows": ", ".join(row.name for row in findings.audit.bad)}))
    if len(comparison.seeds) == 1:
        found.append(("one_seed", {"seed": comparison.seeds[0]}))
    elif 1 < len(comparison.seeds) < FEW_SEEDS:
        found.append(("few_seeds", {"n": len(comparison.seeds)}))
    names = {
        v: [f"{r.get('rung')} {r.get('name')}" for r in comparison.rungs if r.get("verdict") == v] for v in VERDICTS
    }
    if names["fail"]:
        found.append(("not_aligned", {"rungs": ", ".join(names["fail"])}))
    if names["incomplete"]:
        found.append(("alignment_incomplete", {"rungs": ", ".join(names["incomplete"])}))
    apart = (comparison.alignment or {}).get("precision") or {}
    if apart.get("verdict") == "fail":
        found.append(("imprecise", {"where": apart["where"]}))
    if comparison.setting("align", "gate") is False:
        found.append(("gate_off", {}))
    if comparison.alignment is None and len(present) > 1:
        found.append(("no_alignment", {}))
    commits = sorted({m["commit"] for r in comparison.runs if (m := r.manifest or {}).get("commit")})
    if len(commits) > 1:
        found.append(("commits", {"commits": ", ".join(commit[:10] for commit in commits)}))
    if any(commit.endswith("+changes") for commit in [*commits, comparison.commit or ""]):
        found.append(("uncommitted", {}))
    return found


def _about_the_training(comparison: Comparison) -> list[Limit]:
    found: list[Limit] = []
    manifests = [run.manifest for run in comparison.runs if run.manifest]
    final = [100 * v for run in comparison.runs if (v := run.final("AP")) is not None]
    if final and max(final) < LOW_AP:
        found.append(("low_ap", {"ap": round(max(final), 2), "limit": LOW_AP}))
    train = max((m.get("train_images") or 0 for m in manifests), default=0)
    val = max((m.get("val_images") or 0 for m in manifests), default=0)
    if 0 < val < FEW_IMAGES:
        found.append(("few_images", {"train": train, "val": val}))
    if comparison.source_name() == "synthetic":
        found.append(("synthetic", {}))
        if comparison.setting("dataset", "synthetic", "val_is_train"):
            found.append(("by_heart", {}))
    if comparison.variant == "tiny":
        found.append(("tiny", {"title": comparison.title}))
    if manifests:
        epochs = manifests[0].get("epochs")
        scratch = not comparison.setting("init", "weights")
        found.append(("short_training" if scratch else "fine_tuning", {"epochs": epochs}))
    undefined = [
        metric
        for metric in ("APs", "APm", "APl")
        if comparison.runs and all(run.coco and run.final(metric) is None for run in comparison.runs)
    ]
    if undefined:
        found.append(("undefined", {"metrics": ", ".join(undefined)}))
    few = {size: count for size, count in objects_by_size(comparison).items() if 0 < count < FEW_OBJECTS}
    if few:
        found.append(("few_objects", {"counts": ", ".join(f"{size} {count}" for size, count in few.items())}))
    for run in comparison.runs:
        broken = sum(s.get("total") is None or not np.isfinite(s["total"]) for s in run.steps)
        if broken:
            found.append(("not_finite", {"framework": run.framework, "seed": run.seed, "steps": broken}))
    return found


def objects_by_size(comparison: Comparison) -> dict[str, int]:
    """Validation objects, crowds left out, of every size that has an AP of its own; empty without annotations."""
    try:
        document = read_json((comparison.dataset_dir or Path()) / "annotations/val.json")
        areas = [
            float(entry.get("area", entry["bbox"][2] * entry["bbox"][3]))
            for entry in document["annotations"]
            if not entry.get("iscrowd")
        ]
    except (UserError, KeyError, TypeError, IndexError, ValueError):
        return {}
    return {size: sum(low <= area < high for area in areas) for size, (low, high) in SIZES.items()}


def _about_the_speed(comparison: Comparison) -> list[Limit]:
    found: list[Limit] = []
    profiles = comparison.profiles
    if not profiles:
        return [("no_profile", {})]
    devices = {str(p.get("device")) for p in profiles.values()}
    if devices == {"cpu"}:
        threads = sorted({str(p.get("threads")) for p in profiles.values()})
        found.append(("cpu", {"threads": "/".join(threads)}))
    for text in profile_conditions(comparison):
        found.append(("unequal_profile", {"text": text}))
    loads = busy(comparison)
    if loads:
        found.append(("busy", {"loads": ", ".join(f"{name} {load}" for name, load in loads.items())}))
    silent = unwatched(comparison)
    if silent:
        found.append(("unwatched", {"settings": ", ".join(silent)}))
    together = overlaps(comparison)
    if together:
        found.append(("overlap", {"pairs": "; ".join(f"{name}: {other}" for name, other in together)}))
    order = turns.report(profiles)
    if order and not order["alternated"]:
        found.append(("no_turns", {"order": ", ".join(order["order"])}))
    if order and order["pause"] > LONG_PAUSE:
        found.append(("long_pause", {"minutes": round(order["pause"] / 60)}))
    if "jittor-stock" in profiles:
        found.append(("fast_operators", {}))
    count = min((len(values) for p in profiles.values() if (values := samples(p, "latency", "total"))), default=0)
    if 0 < count < FEW_SAMPLES:
        found.append(("few_samples", {"n": count}))
    number = min(len(processes(profile)) for profile in profiles.values())
    if len(profiles) > 1:
        found.append(("one_machine", {"n": number}))
    return found
