"""The result of one rung of the ladder: its findings, and how much it compared."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from parity.align.compare import Difference

PASS, FAIL, INCOMPLETE, ALONE = "pass", "fail", "incomplete", "not compared"
SHOWN = 10  # failures that a rung lists, in the order in which it finds them: causes come before their effects


@dataclass
class Rung:
    """Verdict of one rung: "fail" if something differs; "incomplete" if nothing differs, but not everything that was
    expected was compared; "pass" otherwise. "not compared" is for one framework alone.

    worst, tolerance  the difference nearest to its tolerance or furthest over it, and that tolerance (None: no number)
    measure           what the two are: "relative L2", "peak", "relative", "count"
    expected          how many things should be compared, by unit: {"modules": 326, "images": 2}
    compared          how many were
    missing           why the rung is incomplete, in words
    where             the place of the worst difference, in words
    details           counts, and the first differences that fail with all their numbers
    """

    rung: int
    name: str
    worst: float | None = None
    tolerance: float | None = None
    measure: str = ""
    expected: dict[str, int] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    where: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    alone: bool = False
    _ratio: float = -1.0

    @property
    def verdict(self) -> str:
        if self.failed:
            return FAIL
        if self.alone:
            return ALONE
        return INCOMPLETE if self.missing or self.short() else PASS

    def count(self, unit: str, expected: int, compared: int) -> None:
        """Add to the expected and to the compared number of one unit."""
        self.expected[unit] = self.expected.get(unit, 0) + int(expected)
        self.compared[unit] = self.compared.get(unit, 0) + int(compared)

    def short(self) -> list[str]:
        """Units of which fewer were compared than expected, or none at all; "nothing" if nothing was counted."""
        units = [u for u, n in self.expected.items() if self.compared.get(u, 0) < max(1, n)]
        return units or ([] if self.expected else ["nothing"])

    def tensors(self, differences: Iterable[Difference], limit: float, peak: float | None, label: str = "") -> None:
        """Take in tensor differences that were judged by `limit` (relative L2) and `peak`."""
        differences = list(differences)
        listed = self.details.setdefault("differences", [])
        listed += [{"quantity": label} | d.record() if label else d.record() for d in differences if not d.ok]
        for d in sorted(differences, key=lambda d: -d.ratio)[:1]:
            by_peak = peak and d.peak / peak > (d.relative_l2 / limit if limit else math.inf)
            value, unit, measure = (d.peak, peak, "peak") if by_peak else (d.relative_l2, limit, "relative L2")
            self._take(d.ratio, value, unit, measure, f"{label} {d}".strip())
            if not listed:
                listed.append(d.record())
        failed = sum(not d.ok for d in differences)
        self.details["failed"] = self.details.get("failed", 0) + failed
        del listed[SHOWN:]

    def number(self, value: float, limit: float, measure: str, where: str) -> None:
        """Take in one number that must not exceed `limit`."""
        ratio = 0.0 if value == 0 else value / limit if limit else math.inf
        ratio = math.inf if math.isnan(ratio) else ratio
        self._take(ratio, value, limit, measure, where)

    def problem(self, where: str) -> None:
        """Fail for something that is no number: a missing array, an unequal setting."""
        self._take(math.inf, None, 0.0, "equal", where)

    def _take(self, ratio: float, value: float | None, limit: float, measure: str, where: str) -> None:
        if ratio > 1:
            self.failed = True
            self.details.setdefault("failures", [])
            if len(self.details["failures"]) < SHOWN:
                self.details["failures"].append(where)
        if ratio > self._ratio:
            self._ratio, self.tolerance, self.measure, self.where = ratio, limit, measure, where
            self.worst = value if value is not None and math.isfinite(value) else None

    def incomplete(self, reason: str) -> "Rung":
        """Say that something was not compared, and why."""
        self.missing.append(reason)
        return self

    def not_compared(self, reason: str) -> "Rung":
        """Mark the rung as not compared, because only one framework takes part."""
        self.alone, self.where = True, reason
        return self

    def record(self) -> dict[str, Any]:
        """The result as JSON."""
        if self.verdict == INCOMPLETE:
            short = (
                []
                if self.missing
                else [f"{self.compared.get(u, 0)} of {self.expected.get(u, 0)} {u}" for u in self.short()]
            )
            self.where = "; ".join([*self.missing, *short])
        keys = ("rung", "name", "verdict", "worst", "tolerance", "measure", "expected", "compared", "where", "details")
        return {key: getattr(self, key) for key in keys}


def coverage(rung: dict[str, Any]) -> str:
    """How much a rung of alignment.json compared, in words: "326 of 326 modules, 2 of 2 images"."""
    expected, compared = rung.get("expected") or {}, rung.get("compared") or {}
    return ", ".join(f"{compared.get(unit, 0)} of {number} {unit}" for unit, number in expected.items())


def finite(value: Any) -> Any:
    """The value with None in place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
