"""The place where two networks begin to differ: the module that causes it, not those that only pass it on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.align.compare import Difference, compare
from parity.align.files import SCORES
from parity.align.queries import Queries, align
from parity.align.tolerances import TOLERANCES

HINTS = {
    "batch norm": "epsilon, running statistics not loaded or not used in evaluation, biased against unbiased variance",
    "convolution": "padding, stride, dilation, groups, or the order of the weight's axes",
    "linear": "a transposed weight, a missing bias",
    "layer norm": "epsilon, the axes that are normalised, the affine part",
    "attention": "the scale 1/sqrt(head width), the order of query, key and value in in_proj, the meaning of the mask",
    "deformable attention": "align_corners, the order of x and y, the scale of the offsets, the order of the levels",
    "embedding": "the padding index, the label that stands for no class",
    "operation": "another definition of an activation (GELU with erf or tanh), the axis of a softmax",
    "block": "what stands between its modules: a residual sum, the order of a concatenation, interpolation, a reshape,"
    " a table of positions or anchors",
}


def kind_of(path: str, tensors: Mapping[str, str], paths: list[str]) -> str:
    """The kind of a module, judged by the names and shapes of its own tensors; a key of HINTS.

    `tensors` maps a name to `<kind> [<shape>]`, as probe.json does; `paths` are all modules that were recorded.
    """
    own = {n.rpartition(".")[2]: about for n, about in tensors.items() if n.rpartition(".")[0] == path}
    if "running_mean" in own:
        return "batch norm"
    if "in_proj_weight" in own:
        return "attention"
    if any(other == f"{path}.sampling_offsets" for other in paths):
        return "deformable attention"
    if any(other.startswith(f"{path}.") for other in paths):
        return "block"
    axes = own.get("weight", "").count(",") + 1 if "weight" in own else 0
    if axes == 2 and "bias" not in own:
        return "embedding" if "embed" in path else "linear"
    return {0: "operation", 1: "layer norm", 2: "linear", 4: "convolution"}.get(axes, "operation")


@dataclass
class ModuleCheck:
    """One call of one module: its inputs, its outputs, and its outputs when fed with the first framework's inputs.

    The lists hold the differences of every tensor; an empty `fed` means that it could not be fed.
    """

    path: str
    leaf: bool
    inputs: list[Difference] = field(default_factory=list)
    outputs: list[Difference] = field(default_factory=list)
    fed: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return all(d.ok for d in self.outputs)

    @property
    def to_blame(self) -> bool:
        """Whether the module itself is wrong: its outputs differ although its inputs are equal.

        The inputs are those of the first framework where the module could be fed, otherwise its own if they agree.
        """
        if self.fed:
            return any(not d.ok for d in self.fed)
        return not self.agrees and all(d.ok for d in self.inputs)

    def worst(self) -> Difference | None:
        """The largest difference of the outputs, in units of the tolerance."""
        return max(self.outputs, key=lambda d: d.ratio, default=None)


WITHOUT_PARTNER = {  # modules that may exist in one framework only, and the place where their result is compared
    r"\._layer$": "the pooling inside Jittor's own pooling module, whose output is its own",
    r"(attn|attention)\.drop$": "the dropout inside PyTorch's attention, a function there; in the attention's output",
}


def without_partner(path: str) -> str | None:
    """Why a module may exist in one framework only; None where it may not."""
    return next(
        (reason for pattern, reason in WITHOUT_PARTNER.items() if re.search(pattern, path.partition("#")[0])), None
    )


def split_name(name: str) -> tuple[str, str]:
    """`path#1@in0[2]` -> ("path#1", "in0[2]"); `path[2]` -> ("path", "[2]")."""
    path, at, rest = name.partition("@")
    if at:
        return path, rest
    path, bracket, index = name.partition("[")
    return path, bracket + index


def check_modules(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], queries: Queries | None
) -> list[ModuleCheck]:
    """Check every module that both sides recorded (names as in `Framework.record_layers`), in order of execution.

    Arrays of integers (indices) are left out: they are judged where they are used.
    """
    names: dict[str, list[str]] = {}
    for name in first:
        names.setdefault(split_name(name)[0], []).append(name)
    own = set(second)
    paths = list(names)
    checks = []
    for path, members in names.items():
        plain = path.partition("#")[0]
        check = ModuleCheck(path, leaf=not any(other.startswith(f"{plain}.") for other in paths))
        alone = TOLERANCES["module" if check.leaf else "block"]
        picked = _picked_when_fed(path, members, first, second, queries)
        for name in members:
            rest = split_name(name)[1]
            given = rest.startswith("in")
            if name in own and (found := _judge(name, first[name], second[name], queries, "layer")):
                (check.inputs if given else check.outputs).append(found)
            fed = f"{path}@fed{rest}"
            if not given and fed in own:
                a, b = first[name], second[fed]
                if a.dtype.kind == "f" and (found := _closest(name, a, b, picked, alone)):
                    check.fed.append(found)
        if check.outputs:
            checks.append(check)
    return checks


def _judge(name: str, a: np.ndarray, b: np.ndarray, queries: Queries | None, quantity: str) -> Difference | None:
    """The difference after bringing queries into one order; None where nothing can be compared."""
    if a.dtype.kind != "f":
        return None
    pair = queries.pair(a, b) if queries else (a, b)
    return compare(name, *pair, TOLERANCES[quantity]) if pair else None


def _picked_when_fed(
    path: str,
    members: list[str],
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    queries: Queries | None,
) -> Queries | None:
    """The order of queries that a module picked from the first framework's input, where it returns their positions.

    It is not the order of the second framework's own run: its input differed by rounding, and ties are everywhere in an
    untrained network. Positions that differ without a tie give no order.
    """
    for name in members if queries else ():
        fed = f"{path}@fed{split_name(name)[1]}"
        if fed in second and np.array_equal(first[name], queries.first):
            scores = first.get(SCORES)
            found = align(first[name], second[fed], scores, scores, TOLERANCES["query tie"].limit)
            return queries if found.errors else found
    return queries


def _closest(name: str, a: np.ndarray, b: np.ndarray, queries: Queries | None, tolerance) -> Difference | None:
    """The difference of a fed module's outputs: as they are, or reordered if the module picks queries itself."""
    plain = compare(name, a, b, tolerance)
    pair = queries.pair(a, b) if queries and not plain.ok else None
    return min(plain, compare(name, *pair, tolerance), key=lambda d: d.ratio) if pair else plain


def first_divergence(checks: list[ModuleCheck], tensors: Mapping[str, str]) -> dict[str, Any] | None:
    """The first module, in order of execution, that is itself wrong. Inner modules finish before the outer one.

    Without such a module the first one whose output differs is reported, with `cause` false: code that belongs to no
    module made the difference.
    """
    guilty = next((check for check in checks if check.to_blame), None)
    found = guilty or next((check for check in checks if not check.agrees), None)
    if found is None:
        return None
    paths = [check.path for check in checks]
    plain = found.path.partition("#")[0]
    kind = kind_of(plain, tensors, paths)
    worst = max(found.fed if guilty and found.fed else found.outputs, key=lambda d: d.ratio)
    carried = [c.path for c in checks if c.fed and not c.agrees and not c.to_blame]
    return {
        "module": found.path,
        "cause": guilty is not None,
        "kind": kind,
        "hint": f"{kind}: {HINTS[kind]}" if guilty else "its input differs already: look at what computes that input",
        "fed_with_reference": bool(found.fed),
        "difference": worst.record(),
        "also_to_blame": [c.path for c in checks if c.to_blame and c is not guilty],
        "carried_over": len(carried),
    }
