"""What one rung of the ladder found."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from parity.align.compare import Difference

PASS, FAIL, SKIPPED = "pass", "fail", "skipped"
SHOWN = 10  # differences that a rung lists, the worst first


@dataclass
class Rung:
    """Verdict of one rung.

    worst, tolerance  the difference nearest to its tolerance or furthest over it, and that tolerance (None: skipped)
    measure           what the two are: "relative L2", "peak", "relative", "count"
    compared          how many things were compared
    where             the place of the worst difference, in words
    details           counts, and the worst differences with all their numbers
    """

    rung: int
    name: str
    verdict: str = PASS
    worst: float | None = None
    tolerance: float | None = None
    measure: str = ""
    compared: int = 0
    where: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    _ratio: float = -1.0

    def tensors(self, differences: Iterable[Difference], limit: float, peak: float | None, label: str = "") -> None:
        """Take in tensor differences that were judged by `limit` (relative L2) and `peak`."""
        differences = list(differences)
        self.compared += len(differences)
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
        self.compared += 1
        ratio = 0.0 if value == 0 else value / limit if limit else math.inf
        ratio = math.inf if math.isnan(ratio) else ratio
        self._take(ratio, value, limit, measure, where)

    def problem(self, where: str) -> None:
        """Fail for something that is no number: a missing array, an unequal setting."""
        self.compared += 1
        self._take(math.inf, None, 0.0, "equal", where)

    def _take(self, ratio: float, value: float | None, limit: float, measure: str, where: str) -> None:
        if ratio > 1:
            self.verdict = FAIL
            self.details.setdefault("failures", [])
            if len(self.details["failures"]) < SHOWN:
                self.details["failures"].append(where)
        if ratio > self._ratio:
            self._ratio, self.tolerance, self.measure, self.where = ratio, limit, measure, where
            self.worst = value if value is not None and math.isfinite(value) else None

    def skip(self, reason: str) -> "Rung":
        """Mark as skipped, with the reason as its place."""
        self.verdict, self.where = SKIPPED, reason
        return self

    def record(self) -> dict[str, Any]:
        """As JSON."""
        keys = ("rung", "name", "verdict", "worst", "tolerance", "measure", "compared", "where", "details")
        return {key: getattr(self, key) for key in keys}
