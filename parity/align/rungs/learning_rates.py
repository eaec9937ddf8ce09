"""Rung 8: the learning rate of every group at every step."""

import numpy as np

from parity.align.compare import compare
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def learning_rates(first: Probe, second: Probe) -> Rung:
    """The rate of every group at every step: as planned for the whole run, and as the optimiser was given it."""
    rung, tolerance = Rung(8, "learning rates"), TOLERANCES["learning rate"]
    rung.count("rates", first.train["lr"].size, min(first.train["lr"].size, second.train["lr"].size))
    rung.tensors([compare("learning rate", first.train["lr"], second.train["lr"], tolerance)], 0, None)
    given = [np.array((p.about.get("trajectory") or {}).get("lr") or [], np.float64) for p in (first, second)]
    planned = first.train["lr"][: len(given[0])]
    for probe, rates in zip((first, second), given, strict=True):
        if rates.size or planned.size:
            rung.count("rates given to the optimiser", planned.size, rates.size)
            found = compare(f"rates that {probe.framework}'s optimiser was given", planned, rates, tolerance)
            rung.tensors([found], 0, None)
    if not rung.failed:
        rung.where = f"{first.train['lr'].size} rates are equal"
    return rung
