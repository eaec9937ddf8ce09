"""The findings of a comparison: audit, verdicts, same-weights differences. Computed once, used everywhere."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.align.result import Rung
from parity.align.rungs.same_weights import judge
from parity.compare.agreement import Agreement, agreement
from parity.compare.audit import Audit, audit
from parity.compare.comparison import Comparison, Run, clean
from parity.compare.image_bootstrap import ImageBootstrap, compare
from parity.compare.stats import Verdict, margin_for, ratio_of_processes, survives, tost_paired, withheld
from parity.errors import UserError
from parity.files import read_json
from parity.measure.processes import processes

SPEED = {  # name of a speed verdict -> where its samples stand in profile.json
    "inference latency": ("latency", "total"),
    "forward pass": ("latency", "forward"),
    "training step": ("train", "step"),
}


DISTURBED = ("unequal", "unrecorded", "busy", "machine")  # codes of verdicts that `disturbance` withholds
LOW_AP = 5.0  # AP in points; below it two detectors agree only because neither detects anything
IDLE = 0.2  # cores that an idle machine may use beside a measurement: Snakemake waits, the system tidies up


@dataclass(frozen=True)
class SameWeights:
    """Final weights of `trained`'s run, evaluated by `trained` and by `other`. AP 0..1; None when missing.

    `bootstrap` resamples images; `agreement` pairs the detections. None when detections or annotations are missing.
    `verdict` is that of the ladder's rung 10 on these numbers: pass, fail or incomplete.
    """

    trained: str
    other: str
    seed: int
    own_ap: float | None
    other_ap: float | None
    bootstrap: ImageBootstrap | None
    agreement: Agreement | None
    verdict: str

    @property
    def difference(self) -> float | None:
        return None if self.own_ap is None or self.other_ap is None else self.other_ap - self.own_ap


@dataclass
class Findings:
    """`ap` compares final AP in points, paired by seed; `speed` maps (name, setting) to a ratio against torch."""

    audit: Audit
    ap: Verdict | None
    speed: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    same_weights: list[SameWeights] = field(default_factory=list)
    baseline: str | None = None
    candidate: str | None = None


def find(comparison: Comparison, bootstrap_samples: int = 1000) -> Findings:
    """All findings. With one framework only the audit (which says so) and no verdict.

    `bootstrap_samples` of 0 leaves out the bootstrap over images, which no figure needs.
    """
    present = [name for name in comparison.frameworks if comparison.of(name)]
    baseline = present[0] if present else None
    candidate = present[1] if len(present) > 1 else None
    findings = Findings(audit(comparison), None, baseline=baseline, candidate=candidate)
    if baseline and candidate:
        pairs = [(a.final("AP"), b.final("AP")) for a, b in comparison.pairs(baseline, candidate)]
        pairs = [(100 * a, 100 * b) for a, b in pairs if a is not None and b is not None]
        findings.ap = ap_verdict(pairs, comparison.margins)
    findings.speed = speed_verdicts(comparison, baseline)
    for run in comparison.runs:
        for other in run.others():
            findings.same_weights.append(same_weights(comparison, run, other, bootstrap_samples, comparison.problems))
    return findings


def ap_verdict(pairs: list[tuple[float, float]], margins: dict[str, float]) -> Verdict:
    """Equivalence of final AP in points, paired by seed.

    The margin is the smaller of `margins["ap"]` points and the share `margins["ap_relative"]` of the first framework's
    mean AP. Where no run reaches LOW_AP the verdict is withheld: detectors that detect nothing agree.
    """
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    level = float(np.mean(first)) if first else None
    margin = margin_for(margins["ap"], margins["ap_relative"], level)
    verdict = tost_paired(first, second, margin)
    highest = max((value for pair in pairs for value in pair), default=LOW_AP)
    if highest < LOW_AP and verdict.code != "none":
        reason = f"the highest AP is {highest:.2f} points, below {LOW_AP:g}: detectors that hardly detect agree easily"
        return withheld(verdict, "low_ap", reason)
    return verdict


def speed_verdicts(comparison: Comparison, baseline: str | None) -> dict[tuple[str, str], Verdict]:
    """Every measured setting against the baseline's profile; nothing is concluded from a disturbed measurement."""
    reference = comparison.profiles.get(baseline or "")
    if reference is None:
        return {}
    result = {}
    for setting, profile in comparison.profiles.items():
        if setting == baseline:
            continue
        for name, (section, key) in SPEED.items():
            first, second = ([samples(process, section, key) for process in processes(p)] for p in (reference, profile))
            if any(first) and any(second):
                verdict = ratio_of_processes(first, second, comparison.margins["latency"])
                measured = verdict.low is not None
                why = disturbance(comparison, (baseline, setting), section, verdict) if measured else None
                result[name, setting] = withheld(verdict, *why) if why else verdict
    return result


def disturbance(
    comparison: Comparison, settings: tuple[str, str], section: str, verdict: Verdict
) -> tuple[str, str] | None:
    """(code, reason) why the verdict on two settings says nothing about the frameworks; None when it does."""
    unequal = profile_conditions(comparison, settings)
    if unequal:
        return "unequal", f"they were measured under unequal conditions ({'; '.join(unequal)})"
    series = {key: value for key, value in others(comparison).items() if key[0] in settings and key[1] == section}
    if any(value is None for value in series.values()):
        return "unrecorded", "nobody recorded what else the machine did while they were measured"
    if any(value > IDLE for value in series.values()):
        return "busy", "the machine was not idle while they were measured; measure again"
    slower = drift(*(comparison.profiles[setting] for setting in settings), section)
    if not survives(verdict, slower):
        return "machine", f"the machine itself took {slower:.2f} times as long for a fixed computation; measure again"
    return None


def drift(reference: dict, profile: dict, section: str) -> float:
    """How many times as long the machine took for a fixed computation during `profile`; 1 where not recorded."""
    first, second = (samples(p, "machine", section) for p in (reference, profile))
    return float(np.median(second) / np.median(first)) if first and second else 1.0


def same_weights(
    comparison: Comparison, run: Run, other: str, bootstrap_samples: int, problems: list[str]
) -> SameWeights:
    """One same-weights check; an error that stops the bootstrap is added to `problems`."""
    (own, own_file), (theirs, their_file) = (run.evaluated_by(name) for name in (run.framework, other))
    bootstrap = found = None
    if comparison.cross_dataset is not None and bootstrap_samples:
        annotations, files = comparison.cross_dataset / "annotations" / "val.json", [own_file, their_file]
        try:
            for file in [annotations, *files]:
                if not file.exists():
                    raise UserError(f"{file}: is missing, so the same-weights difference has no interval")
            bootstrap = compare(annotations, *files, samples=bootstrap_samples)
            found = agreement(*map(read_json, files), bootstrap.images)
        except (UserError, AssertionError, KeyError, TypeError) as error:
            problems.append(f"same-weights bootstrap of {run.framework} seed {run.seed}: {error}")
    values = [clean(((side or {}).get("metrics") or {}).get("AP")) for side in (own, theirs)]
    rung = final_weights(run, other)
    return SameWeights(run.framework, other, run.seed, *values, bootstrap, found, rung.verdict)


def final_weights(run: Run, other: str) -> Rung:
    """Rung 10 of the ladder once more, with the weights that a run ended with."""
    rung = Rung(10, f"AP with the final weights of {run.framework}, seed {run.seed}")
    own, theirs = (run.evaluated_by(name)[0] for name in (run.framework, other))
    if own and theirs:
        where = f"on {theirs.get('images')} images, by {run.framework} and {other}"
        judge(rung, own.get("metrics") or {}, theirs.get("metrics") or {}, where)
    return rung


def samples(profile: dict, section: str, key: str) -> list[float]:
    """Finite samples of a profile, in the order measured; empty when they were not recorded."""
    values = (profile.get(section) or {}).get(key) or []
    return [float(v) for v in values if v is not None and np.isfinite(v)]


def profile_conditions(comparison: Comparison, settings: Iterable[str] | None = None) -> list[str]:
    """Conditions that decide speed and that `settings` (all profiles) do not share, each as "name: values"."""
    profiles = {setting: comparison.profiles[setting] for setting in settings or comparison.profiles}
    conditions = {
        "device": lambda p: p.get("device"),
        "threads": lambda p: p.get("threads"),
        "input": lambda p: p.get("input"),
        "variant": lambda p: p.get("variant"),
        "CPU": lambda p: (p.get("host") or {}).get("cpu"),
        "GPU": lambda p: (p.get("host") or {}).get("gpu"),
        "training batch size": lambda p: (p.get("train") or {}).get("batch_size"),
    }
    result = []
    for name, read in conditions.items():
        values = {setting: read(profile) for setting, profile in profiles.items()}
        if len({str(value) for value in values.values()}) > 1:
            result.append(f"{name}: " + ", ".join(f"{setting} {value}" for setting, value in values.items()))
    return result


def others(comparison: Comparison) -> dict[tuple[str, str], float | None]:
    """(setting, series) -> cores that something else kept busy during that series, in the worst of the processes.

    None where a process did not record it: then nobody knows whether the machine was quiet.
    """
    found: dict[tuple[str, str], float | None] = {}
    for setting, profile in comparison.profiles.items():
        for section in ("latency", "train"):
            recorded = profile.get("others")
            values = [(process.get("others") or {}).get(section) for process in processes(profile)]
            known = [float(value) for value in values if value is not None]
            found[setting, section] = max(known) if recorded is not None and len(known) == len(values) else None
    return found


def busy(comparison: Comparison) -> dict[str, float]:
    """Settings that did not have the machine to themselves, and how many cores something else kept busy meanwhile."""
    worst: dict[str, float] = {}
    for (setting, _), value in others(comparison).items():
        if value is not None and value > IDLE:
            worst[setting] = max(round(value, 2), worst.get(setting, 0.0))
    return worst


def unwatched(comparison: Comparison) -> list[str]:
    """Settings without a record of what else the machine did during the measurement."""
    return sorted({setting for (setting, _), value in others(comparison).items() if value is None})


def overlaps(comparison: Comparison) -> list[tuple[str, str]]:
    """(measurement, what ran meanwhile) for every measurement that shared its time with another one or a training.

    By the recorded clock; whether both were on one machine is not recorded.
    """
    spans: dict[str, Any] = {}
    for setting, profile in comparison.profiles.items():
        for number, process in enumerate(processes(profile), 1):
            spans[f"profile {setting}, process {number}"] = process.get("span")
    for run in comparison.runs:
        manifest = run.manifest or {}
        spans[f"training {run.framework} seed {run.seed}"] = [manifest.get("started"), manifest.get("finished")]
    known = {name: span for name, span in spans.items() if span and None not in span}
    found = []
    for name, (begun, ended) in known.items():
        if name.startswith("profile"):
            meanwhile = [o for o, (start, end) in known.items() if o != name and start < ended and begun < end]
            found += [(name, other) for other in meanwhile]
    return found
