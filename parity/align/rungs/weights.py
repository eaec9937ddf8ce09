"""Rung 2: the same weights, and nothing lost on the way into the model."""

from parity.align.files import Probe
from parity.align.result import Rung


def loading(*probes: Probe) -> Rung:
    """The state equals the file, after loading it and after another round by way of a `.pkl`."""
    rung = Rung(2, "weights", tolerance=0, measure="bits")
    for probe in probes:
        found = probe.about["weights"]
        for how in ("loading", "pkl"):
            rung.count("tensors", len(probe.about["tensors"]), found["tensors"])
            for name in found[f"changed_by_{how}"]:
                rung.problem(f"{probe.framework}: {name} is not what the file holds after {how}")
        for digest in ("state_sha256", "pkl_sha256"):
            if found[digest] != found["file_sha256"]:
                rung.problem(f"{probe.framework}: {digest} differs from file_sha256")
    if len({probe.about["weights"]["file_sha256"] for probe in probes}) > 1:
        rung.problem("the two frameworks were given different files")
    rung.where = rung.where or "every tensor is bit-equal, through .safetensors and .pkl"
    return rung
