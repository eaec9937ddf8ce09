"""Two arrays that should be equal: how far apart they are, and where."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from parity.align.tolerances import Tolerance


@dataclass
class Difference:
    """How two tensors differ; `first` is the reference.

    relative_l2  |second - first| / |first|
    peak         max_abs / largest absolute value of the first
    within       fraction of elements whose difference is below the tolerance, relative to the largest absolute value
    worst        index of the largest difference, with the values on both sides
    ratio        the larger of relative_l2 and peak, in units of their limits: above 1 is a failure
    """

    name: str
    size: int
    max_abs: float
    relative_l2: float
    peak: float
    cosine: float
    within: float
    worst: list[int]
    first: float
    second: float
    ratio: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.ratio <= 1

    def record(self) -> dict[str, Any]:
        """The difference as JSON; a number that is not finite becomes text."""
        return {k: str(v) if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        if self.problem:
            return f"{self.name}: {self.problem}"
        place = f"[{', '.join(map(str, self.worst))}]" if self.worst else ""
        return f"{self.name}{place}: {self.first:.7g} and {self.second:.7g}, relative L2 {self.relative_l2:.1e}"


def incomparable(name: str, problem: str) -> Difference:
    """A difference that no number describes: a shape, a missing array."""
    nan = float("nan")
    return Difference(name, 0, nan, nan, nan, nan, 0.0, [], nan, nan, float("inf"), problem)


def compare(name: str, first: np.ndarray, second: np.ndarray, tolerance: Tolerance) -> Difference:
    """Compare in float64. Equal infinities are equal; NaN equals nothing. A tolerance of 0 asks for equal values."""
    if first.shape != second.shape:
        return incomparable(name, f"has shape {list(first.shape)} and {list(second.shape)}")
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not a.size:
        return Difference(name, 0, 0.0, 0.0, 0.0, 1.0, 1.0, [], 0.0, 0.0, 0.0)
    same = a == b  # also where both are infinite
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(b - a))
    error[np.isnan(error)] = np.inf
    at = int(error.argmax())
    finite = np.isfinite(a) & np.isfinite(b)
    x, y = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    norms, largest = [np.linalg.norm(v.ravel()) for v in (x, y)], float(np.abs(x).max())
    max_abs = float(error.flat[at])
    relative = _ratio(float(np.linalg.norm(error.ravel())), norms[0])
    peak = _ratio(max_abs, largest)
    cosine = float((x * y).sum() / (norms[0] * norms[1])) if norms[0] and norms[1] else float(bool(same.all()))
    ratio = max(_ratio(relative, tolerance.limit), _ratio(peak, tolerance.peak) if tolerance.peak else 0.0)
    bound = (tolerance.peak or tolerance.limit) * largest
    worst = [int(i) for i in np.unravel_index(at, a.shape)]
    within = float((error <= bound).mean())
    return Difference(
        name, a.size, max_abs, relative, peak, cosine, within, worst, float(a.flat[at]), float(b.flat[at]), ratio
    )  # fmt: skip


def _ratio(value: float, unit: float) -> float:
    """value / unit. 0 / 0 gives 0; any other value / 0 gives infinity."""
    if value == 0:
        return 0.0
    return value / unit if unit else float("inf")


def zero_gradients(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], limit: float
) -> tuple[set[str], list[str]]:
    """Names of gradients that are zero, apart from rounding, in both frameworks, and of those that are in one only.

    Zero means a norm below `limit` times the largest norm of the model. A gradient that is small on one side and not
    clearly larger on the other (tenfold) is near the limit and counts as zero in neither list.
    """
    norms = [
        {name: float(np.linalg.norm(g.astype(np.float64))) for name, g in side.items()} for side in (first, second)
    ]
    floors = [limit * max(side.values(), default=0.0) for side in norms]
    zero = [{name for name, n in side.items() if n < floor} for side, floor in zip(norms, floors, strict=True)]
    both = set(norms[0]) & set(norms[1])
    one = [
        name
        for name in sorted((zero[0] ^ zero[1]) & both)
        if max(norms[0][name] / floors[0], norms[1][name] / floors[1]) > 10
    ]
    return zero[0] & zero[1], one


def relative(first: float, second: float) -> float:
    """|second - first| / |first|; 0 for equal numbers, infinite where only the first is 0."""
    return 0.0 if first == second else abs(second - first) / abs(first) if first else float("inf")


@dataclass
class Drift:
    """How far rounding alone moves the first framework's results, tensor by tensor."""

    differences: list[Difference]

    @property
    def limits(self) -> list[float]:
        return [d.relative_l2 for d in self.differences]

    @property
    def peaks(self) -> list[float]:
        return [d.peak for d in self.differences]
