"""What a report says in numbers about conversion and alignment, taken from the files of those steps."""

from typing import Any

from parity.align.result import coverage
from parity.compare.comparison import Comparison


def conversion_summary(report: dict | None) -> dict[str, Any] | None:
    """Numbers of the conversion report."""
    if report is None:
        return None
    lists = ("unused_source", "unfilled_target", "reshaped", "recast")
    return {
        "tensors": len(report.get("tensors") or []),
        "verified": report.get("verified"),
        "sha256": report.get("weights_sha256"),
        "pretrained": report.get("pretrained"),
        **{key: len(report.get(key) or []) for key in lists},
    }


def _detail(rungs: list[dict], number: int, key: str) -> Any:
    """A detail of one rung, None where the rung does not have it."""
    return next((rung.get("details", {}).get(key) for rung in rungs if rung.get("rung") == number), None)


def alignment_summary(comparison: Comparison) -> dict[str, Any] | None:
    """Whether anything was `compared`; how many rungs passed, which failed (as "6 gradients") or are incomplete.

    Steps over the whole training are among those that failed or are incomplete, but not among the rungs.
    """
    alignment = comparison.alignment
    if alignment is None:
        return None
    rungs = alignment.get("rungs") or []
    named = {
        verdict: [f"{rung.get('rung')} {rung.get('name')}" for rung in comparison.rungs if rung["verdict"] == verdict]
        for verdict in ("fail", "incomplete")
    }
    return {
        "compared": alignment.get("verdict") != "not compared",
        "count": sum(rung.get("verdict") == "pass" for rung in rungs),
        "failed": named["fail"],
        "incomplete": named["incomplete"],
        "divergence": alignment.get("first_divergence"),
        "precision": alignment.get("precision"),
        "anchors": _detail(rungs, 9, "anchors"),
    }


def whole_run_summary(found: dict | None) -> dict[str, Any] | None:
    """The comparison of steps over the whole training: its verdict, how much was compared, and the signed means."""
    if found is None:
        return None
    lean = (found.get("details") or {}).get("lean") or {}
    return {
        "verdict": found["verdict"],
        "where": found["where"],
        "checked": coverage(found),
        "steps": len(found["curves"]["steps"]),
        "of": found["of"],
        "frameworks": found["frameworks"],
        "lean": {what: value | {"zero": value["low"] <= 0 <= value["high"]} for what, value in lean.items() if value},
    }


def stock_summary(found: dict | None) -> dict[str, Any] | None:
    """The ladder with Jittor's own operators: its verdict, how many rungs there are and how many passed.

    It also names the rungs that failed, those that are incomplete, and the worst place of the first of them.
    """
    if found is None:
        return None
    rungs = {verdict: [r for r in found["rungs"] if r["verdict"] == verdict] for verdict in ("fail", "incomplete")}
    first = (rungs["fail"] or rungs["incomplete"])[:1]
    return {
        "verdict": found["verdict"],
        "rungs": len(found["rungs"]),
        "passed": sum(rung["verdict"] == "pass" for rung in found["rungs"]),
        "failed": [f"{rung['rung']} ({rung['name']})" for rung in rungs["fail"]],
        "incomplete": [f"{rung['rung']} ({rung['name']})" for rung in rungs["incomplete"]],
        "where": first[0]["where"] if first else "",
        "precision": found.get("precision"),
    }
