"""Rung 1: the same images and batches."""

from parity.align.compare import compare
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def preprocessing(first: Probe, second: Probe) -> Rung:
    """The validation images and the first training batches, each prepared by its own process."""
    rung, tolerance = Rung(1, "preprocessing"), TOLERANCES["batches"]
    rung.count(
        "batches", max(len(p.about["batches_sha256"]) for p in (first, second)), len(batch_numbers(first, second))
    )
    missing = sorted(set(first.batches) ^ set(second.batches))
    for name in missing:
        rung.problem(f"batch {name}: only one framework prepared it")
    same = [
        compare(f"batch {n}", first.batches[n], second.batches[n], tolerance) for n in first.batches if n not in missing
    ]
    rung.count("arrays", len(same) + len(missing), len(same))
    rung.tensors(same, tolerance.limit, tolerance.peak)
    if first.about["batches_sha256"] != second.about["batches_sha256"]:
        rung.problem("SHA-256 of the batches")
    elif not rung.failed:
        rung.where = f"{len(first.about['batches_sha256'])} batches are equal, bit for bit"
    return rung


def batch_numbers(first: Probe, second: Probe) -> set[str]:
    """Numbers of the batches that both frameworks prepared; 0 are the validation images."""
    sides = [{name.partition("/")[0] for name in probe.batches} for probe in (first, second)]
    return sides[0] & sides[1]
