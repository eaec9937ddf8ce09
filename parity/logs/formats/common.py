"""Shared by the readers of text logs: numbers, times of day, and lines that processes print about their machine."""

import ast
import re
from collections.abc import Iterator
from datetime import datetime
from math import inf, isfinite, nan
from typing import Any

from parity.data.entries import METRICS
from parity.logs.builder import Builder
from parity.logs.names import metric, phase, quantity

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|NAN|-?inf|Infinity)"
PAIR = re.compile(rf"([A-Za-z_][\w/.@\-]*)\s*[:=]\s*({NUMBER})(?!\d|[:/]|\.\d)")
_FULL = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
_SHORT = re.compile(r"(?<![\d/\-])(\d\d)[-/](\d\d) (\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
NO_YEAR = 2000  # a leap year, so that 29 February is a day; only differences of such times are used
LARGEST = 10**9  # epochs and iterations beyond are no counts


def number(text: str) -> float:
    """A number as logs print it; NaN for other text."""
    try:
        return float(text)
    except ValueError:
        return nan


def pieces(pattern: re.Pattern, text: str) -> Iterator[tuple[re.Match, str]]:
    """Every match of a record's beginning, and what follows up to the next: two processes may write into one line."""
    heads = [*pattern.finditer(text)]
    for number, head in enumerate(heads, 1):
        yield head, text[head.end() : heads[number].start() if number < len(heads) else len(text)]


def decimals(text: str) -> int | None:
    """Digits behind the point, None in exponent notation."""
    if "e" in text.lower() or "n" in text.lower():
        return None
    return len(text.partition(".")[2])


def whole(value: Any) -> int | None:
    """A JSON or CSV value as a count from 0; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and (not isfinite(value) or value != int(value)):
        return None
    return int(value) if 0 <= value <= LARGEST else None


def real(value: Any) -> float | None:
    """A JSON value as a number; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return inf


def stamp(text: str) -> float | None:
    """The first time of day in the first 80 characters, in seconds; None without one."""
    head = text[:80]
    if found := _FULL.search(head):
        year, *rest = found.groups()
    elif found := _SHORT.search(head):
        year, rest = NO_YEAR, list(found.groups())
    else:
        return None
    month, day, hour, minute, second = (int(v) for v in rest[:5])
    micro = int((rest[5] or "0").ljust(6, "0"))
    try:
        moment = datetime(int(year), month, day, hour, minute, second, micro)
    except ValueError:
        return None
    return (moment - datetime(NO_YEAR, 1, 1)).total_seconds()


def split(
    values: Iterator[tuple[str, str]] | list[tuple[str, str]],
) -> tuple[dict[str, float], dict[str, float], int | None]:
    """(training quantities, metrics, decimals of the time) among the pairs of one line; the first of a name counts."""
    quantities: dict[str, float] = {}
    metrics: dict[str, float] = {}
    digits = None
    for name, text in values:
        if called := metric(name):
            metrics.setdefault(called, number(text))
        elif (known := quantity(name)) and known[0] not in quantities:
            quantities[known[0]] = number(text) * known[1]
            if known[0] == "time":
                digits = decimals(text)
    return quantities, metrics, digits


def named(record: dict[str, Any]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """(training quantities, validation losses as `val <name>`, metrics) among the named numbers of a row."""
    train: dict[str, float] = {}
    val: dict[str, float] = {}
    metrics: dict[str, float] = {}
    for name, raw in record.items():
        value = real(raw)
        if value is None:
            continue
        if called := metric(name):
            metrics.setdefault(called, value)
        elif known := quantity(name):
            if phase(name) == "train":
                train.setdefault(known[0], value * known[1])
            elif "loss" in known[0]:
                val.setdefault(f"val {known[0]}", value)
    return train, val, metrics


class CocoLines:
    """The table of twelve lines that the COCO API prints, wherever it stands."""

    _LINE = re.compile(
        r"Average (?:Precision|Recall)\s*\((AP|AR)\)\s*@\[\s*IoU=([\d.:]+)\s*\|\s*area=\s*(\w+)\s*\|\s*maxDets=\s*(\d+)\s*\]"  # noqa: E501
        rf"\s*=\s*({NUMBER})"
    )

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.line = 0

    def feed(self, line: int, text: str, builder: Builder) -> bool:
        """True when the line belongs to a table; a table is handed over when it is over."""
        if "Average " not in text:
            return False
        for found in self._LINE.finditer(text):
            kind, iou, area, most, value = found.groups()
            name = self._name(kind, iou, area, most)
            if name == "AP" and self.metrics:
                self.close(builder)
            self.line = line
            if name and isfinite(number(value)) and number(value) >= 0:
                self.metrics[name] = number(value)
            if name == "ARl":
                self.close(builder)
        return True

    def close(self, builder: Builder) -> None:
        """End the table, e.g. because the file ends."""
        if self.metrics:
            builder.coco_table(self.line, self.metrics)
        self.metrics = {}

    @staticmethod
    def _name(kind: str, iou: str, area: str, most: str) -> str | None:
        size = {"all": "", "small": "s", "medium": "m", "large": "l"}.get(area)
        if size is None:
            return None
        if kind == "AP":
            what = {"0.50": "50", "0.75": "75"}.get(iou, "")
            return None if what and size else f"AP{what or size}"
        return f"AR{size}" if size else f"AR{most}"


_SAYINGS: tuple[tuple[str, re.Pattern], ...] = (
    ("GPU", re.compile(r"\bGPU\s+\d+(?:,\d+)*\s*:\s*([A-Za-z][\w \-().]{2,60}?)\s*(?:\||$)")),
    (
        "GPU",
        re.compile(
            r"(?:device|GPU|gpu)(?: name)?\s*[:=]\s*((?:NVIDIA|Tesla|GeForce|Quadro|RTX|A100|H100|V100)[\w \-]{0,50})"
        ),
    ),
    ("GPUs", re.compile(r"\bGPU number:\s*(\d+)")),
    ("CUDA architecture", re.compile(r"cuda key:\s*cu[\d.]+_(sm_\d+)")),
    ("PyTorch", re.compile(r"\bPyTorch:\s*(\d[\w.+]*)")),
    ("PyTorch", re.compile(r"\btorch(?:==| version:? ?)(\d[\w.+]*)")),
    ("Jittor", re.compile(r"\bJittor\((\d[\w.]*)\)")),
    ("MMEngine", re.compile(r"\bMMEngine:\s*(\d[\w.+]*)")),
    ("MMDetection", re.compile(r"\bMMDetection:\s*(\d[\w.+]*)")),
    ("Python", re.compile(r"\bPython:\s*(\d[\w.]*)")),
    ("seed", re.compile(r"\b(?:random )?seed\s*[:=]\s*(\d+)", re.I)),
    (
        "parameters",
        re.compile(
            r"(?:number of (?:trainable )?param(?:eter)?s|n_parameters|total_?params|total parameters)\s*[:=]?\s*([\d,]{3,})",  # noqa: E501
            re.I,
        ),
    ),
    ("parameters (rounded)", re.compile(r"^\s*([\d.]+ [KMB])\s+(?:Trainable|Total) params", re.I)),
    ("classes", re.compile(r"\bnum_classes\s*[:=]\s*(\d+)")),
    ("batch size", re.compile(r"\b(?:total_|train_|per_gpu_)?batch[_ ]?size\s*[:=]\s*(\d+)", re.I)),
    ("training images", re.compile(r"(?:number of )?train(?:ing)?[_ ](?:images|samples)\s*[:=]\s*(\d+)", re.I)),
    ("validation images", re.compile(r"(?:number of )?val(?:idation)?[_ ](?:images|samples)\s*[:=]\s*(\d+)", re.I)),
)
_START = re.compile(
    r"System environment|Start running|Environment info|Setting up data|Namespace\(|Not using distributed|Jittor\(\d|distributed init"  # noqa: E501
)
_NAMESPACE = re.compile(r"Namespace\((.*)\)\s*$")
_ARGUMENTS = {
    "lr": "base learning rate",
    "batch_size": "batch size",
    "epochs": "epochs planned",
    "max_epochs": "epochs planned",
    "num_classes": "classes",
    "lr_drop": "learning-rate drop after epoch",
    "seed": "seed",
    "world_size": "GPUs",
    "backbone": "backbone",
}


class Sayings:
    """Facts that a log states in plain text, whatever its format: machine, versions, arguments, counts."""

    def feed(self, line: int, text: str, builder: Builder) -> None:
        if _START.search(text):
            builder.header(line)
        if len(text) > 20_000:  # a dump; matching patterns on it would take long and find little
            return
        for name, pattern in _SAYINGS:
            if found := pattern.search(text):
                value: Any = found[1].strip().replace(",", "")
                builder.fact(name, int(value) if value.isdigit() and len(value) < 16 else value, line)
        if found := _NAMESPACE.search(text):
            self._namespace(line, found[1], builder)

    @staticmethod
    def _namespace(line: int, text: str, builder: Builder) -> None:
        """The arguments that argparse prints; read as literals, never run."""
        try:
            call = ast.parse(f"f({text})", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for keyword in getattr(call, "keywords", []):
            if keyword.arg in _ARGUMENTS and isinstance(keyword.value, ast.Constant):
                builder.fact(_ARGUMENTS[keyword.arg], keyword.value.value, line)


def coco_list(value: Any) -> dict[str, float]:
    """The twelve numbers of `test_coco_eval_bbox` by name; -1 (nothing of that size) is left out."""
    if not isinstance(value, list):
        return {}
    numbers = [real(v) for v in value]
    return {n: v for n, v in zip(METRICS, numbers, strict=False) if v is not None and isfinite(v) and v >= 0}
