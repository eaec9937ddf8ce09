"""Which tensor of a weights file becomes which tensor of a model, and a complete account of it.

Nothing is dropped or filled silently: every source tensor is either used or listed as unused with a reason, every
target is either filled or listed, and a shape or type that changes on the way is listed too.
"""

import fnmatch
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.errors import UserError
from parity.framework import TensorInfo
from parity.weights.formats import Loaded, as_float32
from parity.weights.models import FACTS
from parity.weights.models.facts import ModelFacts
from parity.weights.pickles import BFLOAT16

CLASSIFIER = r"(fc|conv5)\..*"  # layers of an ImageNet backbone that come after those that a detector uses
UNKNOWN = ModelFacts(rules=[], backbone_prefix="")  # a conversion from format to format, without a model


@dataclass
class Coverage:
    """The outcome of `match`.

    arrays    {target name: array}, in the order of the targets, with their shapes and dtypes
    rows      one per source tensor: source, target (None when unused), shape, dtype, and a note where there is one
    unused    {source name: reason}
    unfilled  targets that nothing fills
    filled    {target: what it was filled with} for targets that files may lack
    reshaped, recast   rows whose shape or dtype changed on the way
    reset     class heads of another number of classes, left out on request
    box_rows  {class head that was left out: its last rows, which give box sides and are kept}
    drawn     targets of a part that only training uses, none of which the file has; they start anew
    part, prefix       "detector" or "backbone", and the prefix put before the source's names
    """

    part: str
    prefix: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    unfilled: list[str] = field(default_factory=list)
    filled: dict[str, str] = field(default_factory=dict)
    reshaped: list[dict[str, Any]] = field(default_factory=list)
    recast: list[dict[str, Any]] = field(default_factory=list)
    reset: list[str] = field(default_factory=list)
    box_rows: dict[str, np.ndarray] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """The JSON part of a report that this account makes."""
        return {
            "part": self.part,
            "prefix": self.prefix,
            "tensors": self.rows,
            "unused_source": sorted(self.unused),
            "unused_reasons": self.unused,
            "unfilled_target": self.unfilled,
            "filled": self.filled,
            "reshaped": self.reshaped,
            "recast": self.recast,
            "reset_classes": self.reset,
            "kept_box_rows": {name: len(rows) for name, rows in self.box_rows.items()},
            "drawn": self.drawn,
        }


def allowed(name: str, patterns: list[str]) -> bool:
    """Whether a name fits one of the patterns: a glob over the whole name, or a regular expression found in it."""
    return any(fnmatch.fnmatchcase(name, pattern) or _found(pattern, name) for pattern in patterns)


def _found(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # "*.weight" is a glob only
        return False


def dtype_name(array: np.ndarray) -> str:
    """The dtype as reports and model descriptions write it."""
    return "bfloat16" if array.dtype == BFLOAT16 else array.dtype.name


def describe(arrays: dict[str, np.ndarray]) -> list[TensorInfo]:
    """The tensors of a file as their own targets, for a conversion from format to format."""
    return [TensorInfo(name, array.shape, dtype_name(array), "parameter") for name, array in arrays.items()]


def _part(loaded: Loaded, targets: dict[str, TensorInfo], prefix: str) -> str:
    """Decide between a whole detector and a backbone by which names occur in the model."""
    if any(name in targets for name in loaded.arrays):
        return "detector"
    return "backbone" if prefix and any(prefix + name in targets for name in loaded.arrays) else "detector"


def match(
    path: str,
    loaded: Loaded,
    tensors: list[TensorInfo],
    model: str | None = None,
    part: str | None = None,
    allow_missing: list[str] | tuple[str, ...] = (),
    allow_unused: list[str] | tuple[str, ...] = (),
    reset_classes: bool = False,
    draw_missing: bool = False,
) -> Coverage:
    """Map what a file holds onto `tensors`. `path` only names the file in messages.

    `part` is "detector", "backbone" or None to find out; a backbone has to fill the targets under its prefix only.
    `draw_missing` accepts a file without the part that only training uses, as a whole; the caller draws it.
    Raises UserError for a wrong shape, for a target left empty and for a source tensor that fits nowhere, unless a
    pattern allows it.
    """
    targets = {info.name: info for info in tensors}
    facts = FACTS.get(model or "", UNKNOWN)
    prefix = facts.backbone_prefix
    part = part or _part(loaded, targets, prefix)
    result = Coverage(part, prefix if part == "backbone" else "")
    needed = {name: info for name, info in targets.items() if name.startswith(result.prefix)}
    found: dict[str, np.ndarray] = {}
    for name, array in loaded.arrays.items():
        target = name if name in needed or part == "detector" else result.prefix + name
        row = {"source": loaded.names.get(name, name), "target": target, "shape": list(array.shape)}
        row["dtype"] = dtype_name(array)
        result.rows.append(row)
        if target not in needed:
            row["target"] = None
            result.unused[row["source"]] = _reason(name, target, targets, facts, part)
        elif target in found:
            raise UserError(f"{path}: {row['source']} and another tensor of the file would both fill {target}")
        else:
            fitted = _fit(path, array, needed[target], row, result, facts, reset_classes)
            if fitted is not None:
                found[target] = fitted
            elif facts.box_heads and re.fullmatch(facts.box_heads, target):
                rows = 4 * math.prod(targets[facts.box_bins].shape)
                kept = as_float32(array) if array.dtype == BFLOAT16 else array
                result.box_rows[target] = kept[max(0, len(kept) - rows) :].astype(needed[target].dtype)
    result.unused.update(dict.fromkeys(loaded.skipped, "not a tensor"))
    for name, info in needed.items():
        if name in found:
            result.arrays[name] = found[name]
        elif name.endswith("num_batches_tracked"):
            result.arrays[name] = np.zeros(info.shape, info.dtype)
            result.filled[name] = "0 batches: files without this counter are complete"
        elif name not in result.reset:
            result.unfilled.append(name)
    if draw_missing and facts.training_only:
        extra = [name for name in needed if re.fullmatch(facts.training_only, name)]
        if not any(name in found or name in result.reset for name in extra):
            result.drawn = extra
            result.unfilled = [name for name in result.unfilled if name not in set(extra)]
            for name in extra:
                result.arrays.pop(name, None)
                result.filled.pop(name, None)
    result.reset.sort(key=list(needed).index)
    result.box_rows = {name: result.box_rows[name] for name in result.reset if name in result.box_rows}
    _complain(path, result, len(needed), list(allow_missing), list(allow_unused))
    return result


def _reason(name: str, target: str, targets: dict, facts: ModelFacts, part: str) -> str:
    """Why a source tensor is not used; empty when it should have been."""
    if part == "backbone" and re.fullmatch(CLASSIFIER, name):
        return "the ImageNet classifier, which a detector does not have"
    if target.endswith(".num_batches_tracked") and target.replace("num_batches_tracked", "running_mean") in targets:
        return "a counter that frozen normalisation does not have"
    if facts.tables and re.fullmatch(facts.tables, name):
        return "a table that the model computes"
    if part == "backbone" and name in targets:
        return "not part of the backbone"
    return ""


def _fit(
    path: str, array: np.ndarray, info: TensorInfo, row: dict, result: Coverage, facts: ModelFacts, reset: bool
) -> np.ndarray | None:
    """The array in the target's shape and dtype, with changes noted; None when a class head is to be reset."""
    shape, source = tuple(info.shape), array
    if array.shape != shape:
        if array.size == 1 and int(np.prod(shape)) == 1:  # frameworks without 0-d arrays keep scalars as [1]
            array = array.reshape(shape)
            result.reshaped.append({**row, "from": list(source.shape), "to": list(shape)})
        elif facts.class_heads and re.fullmatch(facts.class_heads, info.name) and array.shape[1:] == shape[1:]:
            if not reset:
                raise UserError(
                    f"{path}: {row['source']} has shape {list(source.shape)}, the model needs {list(shape)}: another "
                    "number of classes than the model's (init.reset_classes: true, or --reset-classes, starts the "
                    "class heads anew)"
                )
            result.reset.append(info.name)
            row["target"] = None
            result.unused[row["source"]] = "a class head of another number of classes"
            return None
        else:
            raise UserError(f"{path}: {row['source']} has shape {list(source.shape)}, {info.name} needs {list(shape)}")
    if dtype_name(array) != info.dtype:
        kinds = {"f" if dtype in ("bfloat16",) else np.dtype(dtype).kind for dtype in (dtype_name(array), info.dtype)}
        if len(kinds) != 1:
            raise UserError(f"{path}: {row['source']} is {dtype_name(array)}, {info.name} needs {info.dtype}")
        result.recast.append({**row, "from": dtype_name(array), "to": info.dtype})
        array = (as_float32(array) if array.dtype == BFLOAT16 else array).astype(info.dtype)
    return array


def _complain(path: str, result: Coverage, needed: int, allow_missing: list[str], allow_unused: list[str]) -> None:
    """Raise for what is missing or left over; both together when names simply do not fit."""
    missing = [name for name in result.unfilled if not allowed(name, allow_missing)]
    extra = [name for name, reason in result.unused.items() if not reason and not allowed(name, allow_unused)]
    if missing:
        more = f"; {len(extra)} tensors of the file fit nowhere, e.g. {extra[0]}" if extra else ""
        raise UserError(
            f"{path}: lacks {len(missing)} of {needed} tensors, e.g. {', '.join(missing[:3])}{more} "
            "(--allow-missing PATTERN accepts that)"
        )
    if extra:
        raise UserError(
            f"{path}: {len(extra)} tensors fit nowhere in the model, e.g. {', '.join(extra[:3])} "
            "(--allow-unused PATTERN accepts that)"
        )
    for name, reason in result.unused.items():
        result.unused[name] = reason or "unknown to the model, accepted by --allow-unused"
