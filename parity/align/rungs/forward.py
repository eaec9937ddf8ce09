"""Rung 3: the forward pass, module by module."""

from typing import Any

import numpy as np

from parity.align.compare import compare
from parity.align.divergence import check_modules, first_divergence, split_name, without_partner
from parity.align.files import Probe
from parity.align.queries import judge_queries, match_queries
from parity.align.result import SHOWN, Rung
from parity.align.tolerances import TOLERANCES


def forward(first: Probe, second: Probe) -> tuple[Rung, dict[str, Any] | None, list[dict[str, Any]]]:
    """Layer by layer; also returns the first divergence and one line per module for the figure.

    Layers arrive in one order in both frameworks, so the first divergence is where the rung fails.
    """
    rung, queries = Rung(3, "forward, layer by layer"), match_queries(first.eval, second.eval)
    checks = check_modules(first.eval.part("layer/"), second.eval.part("layer/"), queries)
    recorded = [float_modules(probe) for probe in (first, second)]
    for side, other, framework in ((0, 1, first.framework), (1, 0, second.framework)):
        alone = sorted(recorded[side] - recorded[other])
        for path in alone:
            if without_partner(path) is None:
                rung.problem(f"module {path}: only {framework} has it")
        rung.details[f"only in {framework}"] = {path: without_partner(path) for path in alone[:SHOWN]}
    expected = {path for path in recorded[0] | recorded[1] if without_partner(path) is None}
    given = {name.partition("@")[0] for name in first.eval.under("layer/") if "@in" in name} & expected
    rung.count("modules", len(expected), len({check.path for check in checks} & expected))
    rung.count("modules fed", len(given), len({check.path for check in checks if check.fed} & given))
    layer, output = TOLERANCES["layer"], TOLERANCES["output"]
    divergence = first_divergence(checks, first.about["tensors"])
    if divergence is not None:
        found = divergence["difference"]
        told = f"first divergence: {divergence['module']} ({divergence['hint']})"
        rung.number(np.inf, 0, "first divergence", f"{told}; {found['name']}: {found['first']} and {found['second']}")
    judge_queries(rung, queries)  # after the cause: other queries only follow from it
    rung.tensors([d for check in checks for d in check.outputs], layer.limit, layer.peak, "layer")
    for check in checks:
        kind = TOLERANCES["module" if check.leaf else "block"]
        rung.tensors(check.fed, kind.limit, kind.peak, "fed with the reference's input:")
    names = first.eval.under("output/") | second.eval.under("output/")
    for name, key in names.items():
        if key not in first.eval or key not in second.eval:
            present = (first if key in first.eval else second).framework
            rung.problem(f"output {name}: only {present} has it")
        elif first.eval[key].dtype.kind == "f":
            pair = queries.pair(first.eval[key], second.eval[key]) if queries else (first.eval[key], second.eval[key])
            rung.count("outputs", 1, pair is not None)
            if pair is not None:
                rung.tensors([compare(name, *pair, output)], output.limit, output.peak, "output")
    lines = []
    for check in checks:
        worst, fed = check.worst(), max(check.fed, key=lambda d: d.ratio, default=None)
        line = {"module": check.path, "leaf": check.leaf, "relative_l2": worst.relative_l2, "to_blame": check.to_blame}
        lines.append(line | {"fed_relative_l2": fed.relative_l2 if fed else None})
    return rung, divergence, lines


def float_modules(probe: Probe) -> set[str]:
    """Paths of the modules of which an output in floating point was recorded."""
    names = probe.eval.under("layer/")
    return {split_name(n)[0] for n, key in names.items() if "@" not in n and probe.eval[key].dtype.kind == "f"}
