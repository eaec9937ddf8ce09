"""Rungs 0 to 4: what both frameworks start from, and the forward pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.align.compare import compare
from parity.align.divergence import check_modules, first_divergence
from parity.align.files import Arrays, Probe
from parity.align.queries import SCORES, Queries, align
from parity.align.result import Rung
from parity.align.tolerances import TOLERANCES


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping with dotted keys."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found


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
        sides = [flat(probe.about[section], section) for probe in (first, second)]
        for key in sorted(set(sides[0]) | set(sides[1])):
            rung.compared += 1
            a, b = (side.get(key, "absent") for side in sides)
            if a != b:
                rung.problem(f"{key}: {first.framework} has {a}, {second.framework} {b}")
    if list(first.about["tensors"]) != list(second.about["tensors"]):
        rung.problem("tensors: the same names in another order")
    rung.where = rung.where or "every key, tensor name, shape and parameter group is equal"
    rung.details["own"] = {probe.framework: probe.about["own_config"] for probe in (first, second)}
    return rung


def preprocessing(first: Probe, second: Probe) -> Rung:
    """The validation images and the first training batches, each prepared by its own process."""
    rung, tolerance = Rung(1, "preprocessing"), TOLERANCES["batches"]
    missing = sorted(set(first.batches) ^ set(second.batches))
    for name in missing:
        rung.problem(f"batch {name}: only one framework prepared it")
    same = [
        compare(f"batch {n}", first.batches[n], second.batches[n], tolerance) for n in first.batches if n not in missing
    ]
    rung.tensors(same, tolerance.limit, tolerance.peak)
    if first.about["batches_sha256"] != second.about["batches_sha256"]:
        rung.problem("SHA-256 of the batches")
    elif rung.verdict == "pass":
        rung.where = f"{len(first.about['batches_sha256'])} batches are equal, bit for bit"
    return rung


def loading(*probes: Probe) -> Rung:
    """The state equals the file, after loading it and after another round by way of a `.pkl`."""
    rung = Rung(2, "weights", tolerance=0, measure="bits")
    for probe in probes:
        found = probe.about["weights"]
        for how in ("loading", "pkl"):
            rung.compared += found["tensors"]
            for name in found[f"changed_by_{how}"]:
                rung.problem(f"{probe.framework}: {name} is not what the file holds after {how}")
        for digest in ("state_sha256", "pkl_sha256"):
            if found[digest] != found["file_sha256"]:
                rung.problem(f"{probe.framework}: {digest} differs from file_sha256")
    if len({probe.about["weights"]["file_sha256"] for probe in probes}) > 1:
        rung.problem("the two frameworks were given different files")
    rung.where = rung.where or "every tensor is bit-equal, through .safetensors and .pkl"
    return rung


def match_queries(first: Arrays, second: Arrays) -> Queries | None:
    """The order of queries of two eval or train traces; None for a model that does not pick queries."""
    name = "output/topk_ind"
    if name not in first or name not in second:
        return None
    logits = [side.get(f"layer/{SCORES}") for side in (first, second)]
    return align(first[name], second[name], *logits, TOLERANCES["query tie"].limit)


def judge_queries(rung: Rung, queries: Queries | None) -> None:
    """Near ties are counted, other differences of order fail the rung."""
    if queries is None:
        return
    rung.details["queries"] = {
        "total": int(queries.place.size),
        "near_ties": queries.ties,
        "only_on_one_side": queries.lost,
        "largest_gap": float(min(queries.gap, 1e30)),
        "images_compared_after_selection": int(queries.complete.sum()),
    }
    if queries.errors:
        rung.problem(f"queries picked in another order for no tie: {queries.errors} ranks, {queries.where}")


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


def detections(first: Probe, second: Probe) -> Rung:
    """Every detection has a partner of its label, score and box; any order.

    At the shaken weights and, because a detector with a threshold finds nothing there, at those that the first
    framework's trajectory ends with.
    """
    rung = Rung(4, "post-processing")
    rung.details |= {"largest_difference_of_partners": {"score": 0.0, "box": 0.0}, "detections": 0}
    _partners(rung, first.eval, second.eval, first, second, "")
    if first.final is not None and second.final is not None:
        _partners(rung, first.final, second.final, first, second, "trained, ")
    if not rung.details["detections"] and rung.verdict == "pass":
        return rung.skip("neither framework detects anything on these images")
    return rung


def _partners(rung: Rung, found: Arrays, found2: Arrays, first: Probe, second: Probe, when: str) -> None:
    """Judge the detections of all images in two sets of arrays."""
    score, box, share = (TOLERANCES[name].limit for name in ("score", "box", "detections"))
    largest = rung.details["largest_difference_of_partners"]
    for i, (height, width) in enumerate(first.batches["0/sizes"]):
        keys = [f"detections/img{i}/{part}" for part in ("boxes", "scores", "labels")]
        if any(key not in found2 for key in keys):
            rung.problem(f"{when}image {i}: no detections in {second.framework}")
            continue
        (boxes, scores, labels), (boxes2, scores2, labels2) = ([side[k] for k in keys] for side in (found, found2))
        rung.details["detections"] += len(scores)
        if len(scores) != len(scores2):
            rung.problem(f"{when}image {i}: {len(scores)} detections and {len(scores2)}")
        free, lost = np.ones(len(scores2), bool), []
        floor = scores.min(initial=np.inf) + score  # the last places may exchange with what was cut off
        for k in range(len(scores)):
            far = np.abs(boxes2 - boxes[k]).max(axis=1, initial=0) / max(height, width)
            apart = np.abs(scores2 - scores[k])
            fits = np.flatnonzero(free & (labels2 == labels[k]) & (apart <= score) & (far <= box))
            if fits.size:
                j = fits[(apart + far)[fits].argmin()]
                free[j] = False
                largest["score"] = max(largest["score"], float(apart[j]))
                largest["box"] = max(largest["box"], float(far[j]))
            elif scores[k] > floor:
                lost.append(k)
        where = f"{when}image {i}: {len(lost)} of {len(scores)} without a partner"
        if lost:
            k = lost[0]
            where += f", first label {labels[k]}, score {scores[k]:.5f}, box {np.round(boxes[k], 2).tolist()}"
        rung.number(len(lost) / max(1, len(scores)), share, "share", where)
