"""Rung 0: the configuration that both were given, and the model that each built from it."""

from parity.align.files import Probe
from parity.align.result import Rung
from parity.files import leaves


def configuration(first: Probe, second: Probe) -> Rung:
    """Everything that both were told, and the model they made of it: names, shapes, groups, counts."""
    rung = Rung(0, "configuration", tolerance=0, measure="equal")
    for section in (
        "config",
        "settings",
        "tensors",
        "groups",
        "parameters",
        "dataset_digest",
        "plan_digest",
        "shaken_sha256",
    ):
        sides = [dict(leaves(probe.about[section], section)) for probe in (first, second)]
        names = sorted(set(sides[0]) | set(sides[1]))
        rung.count("tensors" if section == "tensors" else "entries", len(names), len(names))
        for key in names:
            a, b = (side.get(key, "absent") for side in sides)
            if a != b:
                rung.problem(f"{key}: {first.framework} has {a}, {second.framework} {b}")
    if list(first.about["tensors"]) != list(second.about["tensors"]):
        rung.problem("tensors: the same names in another order")
    rung.where = rung.where or "every key, tensor name, shape and parameter group is equal"
    rung.details["own"] = {probe.framework: probe.about["own_config"] for probe in (first, second)}
    return rung
