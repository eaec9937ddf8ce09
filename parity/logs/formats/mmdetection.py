"""Text logs of MMDetection: version 3 (MMEngine) and version 2 (MMCV), epoch-based and iteration-based."""

import ast
import re
from typing import Any

from parity.logs.builder import Builder
from parity.logs.formats.common import PAIR, CocoLines, Sayings, pieces, split, stamp

NAME = "MMDetection text log"
TRAIN = re.compile(
    r"Epoch(?:\(train\))?\s+\[\s*(?P<epoch>\d{1,9})\]\[\s*(?P<i>\d{1,9})/\s*(?P<n>\d{1,9})\]"
    r"|Iter(?:\(train\))?\s+\[\s*(?P<gi>\d{1,9})/\s*(?P<gn>\d{1,9})\]"
)
EVALUATE = re.compile(
    r"(?:Epoch|Iter)\((?P<phase>val|test)\)\s*(?:\[\s*(?P<epoch>\d{1,9})\])?\[\s*(?P<i>\d{1,9})(?:/\s*(?P<n>\d{1,9}))?\]"
)
_CONFIG_LINES = 20_000  # a longer text is no configuration


def recognise(text: str) -> bool:
    return ("[" in text) and bool(TRAIN.search(text) or EVALUATE.search(text)) and "Epoch [ " not in text


class Reader:
    """Reads line by line; the configuration that the log prints is parsed as literals, never run."""

    processes = True

    def __init__(self, builder: Builder):
        self.builder, self.coco, self.sayings = builder, CocoLines(), Sayings()
        self.epoch: int | None = None
        self.config: list[str] | None = None
        self.config_line = 0

    def feed(self, line: int, text: str) -> None:
        builder = self.builder
        if self.config is not None and self._in_config(line, text):
            return
        if text.rstrip().endswith("Config:"):
            self.config, self.config_line = [], line
            return
        if self.coco.feed(line, text, builder):
            return
        if records := [*pieces(TRAIN, text)]:
            for head, rest in records:
                self._train(line, text, head, rest)
        elif head := EVALUATE.search(text):
            self._evaluate(line, text, head)
        else:
            self.sayings.feed(line, text, builder)

    def close(self) -> None:
        self._end_config()
        self.coco.close(self.builder)

    def _train(self, line: int, text: str, head: re.Match, rest: str) -> None:
        values, _, digits = split(PAIR.findall(rest))
        if not values:
            return
        self.builder.settle_table(line)
        when = stamp(text)
        if head["epoch"]:
            self.epoch = int(head["epoch"])
            self.builder.step(
                line, self.epoch, int(head["i"]), values, per_epoch=int(head["n"]), stamp=when, decimals=digits
            )
        else:
            self.builder.fact("iterations planned", int(head["gn"]), line)
            self.builder.step(line, None, None, values, step=int(head["gi"]), stamp=when, decimals=digits)

    def _evaluate(self, line: int, text: str, head: re.Match) -> None:
        values, metrics, _ = split(PAIR.findall(text[head.end() :]))
        epoch = int(head["epoch"]) if head["epoch"] else (self.epoch if head["phase"] == "val" else None)
        if metrics:
            self.builder.evaluation(line, epoch, metrics)
        elif "time" in values:
            total = int(head["n"]) if head["n"] else None
            self.builder.timing(line, head["phase"], int(head["i"]), values["time"], stamp(text), total)

    def _in_config(self, line: int, text: str) -> bool:
        """True while the lines are those of the configuration; the first line with a time of day ends it."""
        if re.match(r"\d{2,4}[-/]\d\d", text) or len(self.config) > _CONFIG_LINES:
            self._end_config()
            return False
        self.config.append(text)
        return True

    def _end_config(self) -> None:
        if self.config:
            facts_of_config(python_config("\n".join(self.config)), self.config_line, self.builder)
        self.config = None


def python_config(text: str) -> dict[str, Any]:
    """A configuration written as Python assignments of literals and dict(...) calls. Nothing is run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}

    def value(node: ast.AST, depth: int = 0) -> Any:
        if depth > 50:
            return None
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "dict":
            return {k.arg: value(k.value, depth + 1) for k in node.keywords if k.arg}
        if isinstance(node, ast.Dict):
            return {
                str(value(k, depth + 1)): value(v, depth + 1)
                for k, v in zip(node.keys, node.values, strict=True)
                if k is not None
            }
        if isinstance(node, (ast.List, ast.Tuple)):
            return [value(item, depth + 1) for item in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = value(node.operand, depth + 1)
            return -inner if isinstance(inner, (int, float)) else None
        return None

    return {
        node.targets[0].id: value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def facts_of_config(config: dict[str, Any], line: int, builder: Builder) -> None:
    """The values of a configuration of version 2 or 3: batches, learning rate, schedule, epochs and classes."""

    def at(*path: str) -> Any:
        node: Any = config
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def first(*paths: tuple[str, ...]) -> Any:
        return next((found for path in paths if (found := at(*path)) is not None), None)

    optimizer = first(("optim_wrapper", "optimizer"), ("optimizer",))
    head = first(("model", "bbox_head"), ("model", "roi_head", "bbox_head"))
    head = head[0] if isinstance(head, list) and head else head
    facts = {
        "batch size": first(("train_dataloader", "batch_size"), ("data", "samples_per_gpu"), ("data", "imgs_per_gpu")),
        "epochs planned": first(("train_cfg", "max_epochs"), ("runner", "max_epochs"), ("total_epochs",)),
        "base learning rate": optimizer.get("lr") if isinstance(optimizer, dict) else None,
        "optimiser": optimizer.get("type") if isinstance(optimizer, dict) else None,
        "classes": head.get("num_classes") if isinstance(head, dict) else None,
        "model": at("model", "type"),
        "backbone depth": at("model", "backbone", "depth"),
    }
    for name, value in facts.items():
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            builder.fact(name, value, line)
    schedule = schedule_text(at("param_scheduler"), at("lr_config"))
    if schedule:
        builder.fact("schedule", schedule, line)


def schedule_text(version3: Any, version2: Any) -> str:
    """The learning-rate schedule in short: kinds, warm-up, milestones."""
    parts = []
    for part in version3 if isinstance(version3, list) else [version3]:
        if isinstance(part, dict):
            unit = "epochs" if part.get("by_epoch", True) else "iterations"
            stones = f" at {part['milestones']}" if part.get("milestones") else ""
            factor = f" from x{part['start_factor']:g}" if isinstance(part.get("start_factor"), (int, float)) else ""
            parts.append(f"{part.get('type')}{factor}{stones} over {part.get('end')} {unit}")
    if isinstance(version2, dict):
        text = f"{version2.get('policy')} at {version2.get('step')}"
        if version2.get("warmup"):
            text += f", warm-up {version2['warmup']} over {version2.get('warmup_iters')} iterations"
        parts.append(text)
    return "; ".join(parts)
