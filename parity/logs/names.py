"""The names of quantities in logs, and their names in this project."""

import re
from functools import lru_cache

from parity.data.entries import AP_METRICS

RECALLS = ("AR1", "AR10", "AR100", "AR300", "AR1000", "ARs", "ARm", "ARl")
NAMES = 4096  # different names remembered; a log has a few dozen

_PREFIX = re.compile(
    r"^(train|training|val|valid|validation|test|eval|metrics?|coco|bbox|ema|scalars?)[\s/_.\-]+", re.I
)
_SUFFIX = re.compile(r"[\s/_.\-]+(train|val|step|epoch|avg|mean)$", re.I)
_AP = re.compile(
    r"(?:bbox[_/ ]?)?m?(?P<kind>ap|ar)[\s_@/:-]*(?:(?:max_?dets?=?)?(?P<what>"
    r"0?\.?50?[:_\-]0?\.?95|50|0?\.50?|75|0?\.75|s|m|l|small|medium|large|1000|300|100|10|1))?(?:\(b\))?",
    re.I,
)
_WHAT = {"0.5": "50", ".5": "50", "0.50": "50", ".50": "50", "0.75": "75", ".75": "75", "5": "50"}
_WHAT |= {"small": "s", "medium": "m", "large": "l"}
_CHINESE = {
    "损失": "loss",
    "总损失": "loss",
    "训练损失": "loss",
    "验证损失": "loss",
    "学习率": "lr",
    "轮": "epoch",
    "轮次": "epoch",
    "迭代": "iter",
    "步": "step",
}
_RATES = re.compile(r"(?:base[_ ]?|current[_ ]?)?(?:lr|learning[_ ]?rate)(?:[-/_ ].*)?", re.I)
_TIMES = re.compile(
    r"(?:(?:iter(?:ation)?|batch|step|train_?step)[_ ]?time|time(?:[/_ ]?per[/_ ]?(?:iter(?:ation)?|step|batch))?"
    r"|(?:sec(?:onds)?|s)(?:_per_|/)(?:iter(?:ation)?|it|step|batch))(?P<ms>[_ (]*ms\)?)?(?:[_ ]?\(?s(?:ec)?\)?)?",
    re.I,
)
_EPOCH_TIMES = re.compile(r"epoch[_ ]?(?:time|seconds|duration)(?:[_ ]?\(?s(?:ec)?\)?)?", re.I)


@lru_cache(NAMES)
def phase(name: str) -> str:
    """ "val" for a quantity of an evaluation, "train" for any other."""
    return (
        "val" if re.match(r"(?:(?:val|valid|validation|test|eval)(?![a-z])|验证|测试)", name.strip(), re.I) else "train"
    )


@lru_cache(NAMES)
def bare(name: str) -> str:
    """A name without the part that says where it was measured: `loss_bbox` for `Train_loss/loss_bbox`."""
    name = _CHINESE.get(name.strip(), name.strip())
    parts = [p for p in name.split("/") if p]
    if len(parts) > 1 and re.search(r"loss", parts[0], re.I) and not re.search(r"^total", parts[0], re.I):
        name = "/".join(parts[1:])
    before = None
    while name != before:
        before = name
        shorter = _SUFFIX.sub("", _PREFIX.sub("", name))
        name = shorter or name
    return name


@lru_cache(NAMES)
def metric(name: str) -> str | None:
    """ "AP", "AP50", ..., "AR100", ... for a name of one of them, None for any other."""
    text = bare(name)
    found = _AP.fullmatch(text)
    if not found:
        return None
    kind, what = found["kind"].upper(), (found["what"] or "").lower()
    what = _WHAT.get(what, what)
    if "95" in what:
        what = ""
    called = kind + what
    if kind == "AR" and not what:
        return "AR100" if text.lower() in ("ar", "mar") else None
    return called if called in AP_METRICS or called in RECALLS else None


@lru_cache(NAMES)
def quantity(name: str) -> tuple[str, float] | None:
    """(name here, factor to its unit here) of a number in a training line; None for one that is not used.

    Losses keep their own bare name; the total is `loss`. Times are in seconds, memory in MB.
    """
    text = bare(name)
    low = text.lower()
    if "unscaled" in low or "weight" in low:
        return None
    if _RATES.fullmatch(text):
        return "lr", 1.0
    if found := _TIMES.fullmatch(text):
        return "time", 1e-3 if found["ms"] else 1.0
    if low in ("data_time", "data", "datatime"):
        return "data_time", 1.0
    if low in ("memory", "mem", "max_mem", "max mem", "gpu_mem", "memory_mb"):
        return "memory", 1.0
    if low in ("grad_norm", "gradnorm"):
        return "grad_norm", 1.0
    if low in ("loss", "total_loss", "loss_total", "total", "loss/total", "total loss", "losses"):
        return "loss", 1.0
    if _EPOCH_TIMES.fullmatch(text):
        return "epoch_time", 1.0
    if "loss" in low:
        return text.replace("/", "_").replace(" ", "_")[:60], 1.0
    return None
