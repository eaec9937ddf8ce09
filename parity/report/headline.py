"""The top of a report: first the questions that the run settles, each with its count, then the open ones."""

import re
from pathlib import Path
from typing import Any

from parity.compare.findings import Findings
from parity.compare.stats import Verdict

FAULTS = Path(__file__).resolve().parents[2] / "docs/faults.md"  # what `make faults` wrote
CAUGHT = re.compile(r"^Caught\b[^:\n]*: (\d+) of (\d+)", re.MULTILINE)
UNITS = ("modules", "parameters", "steps")  # units of the ladder that a reader knows
OPEN = ("inconclusive", "none")  # verdicts that settle nothing
SHOWN = ("inference latency", "training step")


def same_weights(findings: Findings) -> dict[str, Any] | None:
    """The same weights in both frameworks, all directions and seeds together; None where none was evaluated by both.

    verdict: "pass" when every AP agrees by the ladder's rung 10, "fail" when one does not, else "incomplete";
    images, whole: images of all checks, and those in which every detection has a partner; detections, matched: pairs
    count once; gap: largest difference in AP (0..1). The counts are None where detections are missing.
    """
    checks = [check for check in findings.same_weights if check.difference is not None]
    if not checks:
        return None
    verdicts = {check.verdict for check in checks}
    found = [check.agreement for check in checks]
    counts: dict[str, Any] = dict.fromkeys(("images", "whole", "detections", "matched"))
    if all(found):
        matched = sum(one.matched for one in found)
        counts = {"images": sum(one.images for one in found), "whole": sum(one.whole for one in found)}
        counts |= {"matched": matched, "detections": matched + sum(one.first_only + one.second_only for one in found)}
    verdict = "fail" if "fail" in verdicts else "pass" if verdicts == {"pass"} else "incomplete"
    return {"verdict": verdict, "checks": checks, "gap": max(abs(check.difference) for check in checks), **counts}


def ladder(alignment: dict | None) -> dict[str, Any] | None:
    """How many rungs there are and passed, and how many `UNITS` were compared; None without a comparison."""
    rungs = (alignment or {}).get("rungs") or []
    if not rungs or (alignment or {}).get("verdict") == "not compared":
        return None
    compared: dict[str, int] = {}
    for rung in rungs:
        for unit, number in (rung.get("compared") or {}).items():
            if unit in UNITS:
                compared[unit] = max(number, compared.get(unit, 0))
    passed = sum(rung.get("verdict") == "pass" for rung in rungs)
    return {"rungs": len(rungs), "passed": passed, "compared": {u: compared[u] for u in UNITS if compared.get(u)}}


def faults(page: Path = FAULTS) -> tuple[int, int] | None:
    """(caught, planted) mistakes, by docs/faults.md; None where the page is missing or does not say."""
    try:
        found = CAUGHT.search(page.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return (int(found[1]), int(found[2])) if found and int(found[2]) else None


def verdicts(findings: Findings, frameworks: list[str]) -> tuple[list[tuple], list[tuple]]:
    """(what, setting, verdict) on AP and on the speed of the frameworks: what is settled, and what is open."""
    named: list[tuple[str, str | None, Verdict]] = []
    if findings.ap is not None:
        named.append(("AP", findings.candidate, findings.ap))
    named += [(name, s, v) for (name, s), v in findings.speed.items() if name in SHOWN and s in frameworks]
    return [n for n in named if n[2].verdict not in OPEN], [n for n in named if n[2].verdict in OPEN]
