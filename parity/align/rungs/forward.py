"""Rung 3: the forward pass, module by module."""

from typing import Any

import numpy as np

from parity.align.compare import compare
from parity.align.divergence import check_modules, first_divergence
from parity.align.files import Probe
from parity.align.queries import judge_queries, match_queries
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def forward(first: Probe, second: Probe) -> tuple[Rung, dict[str, Any] | None, list[dict[str, Any]]]:
    """Layer by layer; also returns the first divergence and one line per module for the figure.

    Layers arrive in one order in both frameworks, so the first divergence is where the rung fails.
    """
    rung, queries = Rung(3, "forward, layer by layer"), match_queries(first.eval, second.eval)
    judge_queries(rung, queries)
    checks = check_modules(first.eval.part("layer/"), second.eval.part("layer/"), queries)
    if not checks:
        rung.problem("no layers were recorded on both sides")
    layer, output = TOLERANCES["layer"], TOLERANCES["output"]
    divergence = first_divergence(checks, first.about["tensors"])
    if divergence is not None:
        found = divergence["difference"]
        told = f"first divergence: {divergence['module']} ({divergence['hint']})"
        rung.number(np.inf, 0, "first divergence", f"{told}; {found['name']}: {found['first']} and {found['second']}")
    rung.tensors([d for check in checks for d in check.outputs], layer.limit, layer.peak, "layer")
    for check in checks:
        kind = TOLERANCES["module" if check.leaf else "block"]
        rung.tensors(check.fed, kind.limit, kind.peak, "fed with the reference's input:")
    missing = sorted(
        name for name in first.eval.under("layer/") if "@" not in name and f"layer/{name}" not in second.eval
    )
    rung.details |= {"modules": len(checks), "fed": sum(bool(c.fed) for c in checks), "only_in_first": missing[:10]}
    for name, key in first.eval.under("output/").items():
        if key not in second.eval:
            rung.problem(f"output {name}: missing in {second.framework}")
        elif first.eval[key].dtype.kind == "f":
            pair = queries.pair(first.eval[key], second.eval[key]) if queries else (first.eval[key], second.eval[key])
            if pair is not None:
                rung.tensors([compare(name, *pair, output)], output.limit, output.peak, "output")
    lines = []
    for check in checks:
        worst, fed = check.worst(), max(check.fed, key=lambda d: d.ratio, default=None)
        line = {"module": check.path, "leaf": check.leaf, "relative_l2": worst.relative_l2, "to_blame": check.to_blame}
        lines.append(line | {"fed_relative_l2": fed.relative_l2 if fed else None})
    return rung, divergence, lines
