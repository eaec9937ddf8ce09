"""Rung 8: the learning rate of every group at every step."""

from parity.align.compare import compare
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def learning_rates(first: Probe, second: Probe) -> Rung:
    """The rate of every group at every step of the whole run."""
    rung, tolerance = Rung(8, "learning rates"), TOLERANCES["learning rate"]
    rung.count("rates", first.train["lr"].size, min(first.train["lr"].size, second.train["lr"].size))
    rung.tensors([compare("learning rate", first.train["lr"], second.train["lr"], tolerance)], 0, None)
    if not rung.failed:
        rung.where = f"{first.train['lr'].size} rates are equal"
    return rung
