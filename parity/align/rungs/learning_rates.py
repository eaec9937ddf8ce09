"""Rung 8: the learning rate of every group at every step."""

from parity.align.compare import compare
from parity.align.files import Probe
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def learning_rates(first: Probe, second: Probe) -> Rung:
    """The rate of every group at every step of the whole run."""
    rung, tolerance = Rung(8, "learning rates"), TOLERANCES["learning rate"]
    rung.tensors([compare("learning rate", first.train["lr"], second.train["lr"], tolerance)], 0, None)
    if rung.verdict == "pass":
        rung.where = f"{first.train['lr'].size} rates are equal"
    return rung
