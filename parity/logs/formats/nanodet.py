"""Text logs of NanoDet and NanoDet-Plus: training lines, metrics, and the tables of its evaluation."""

import ast
import re

from parity.logs.builder import Builder
from parity.logs.formats.common import NUMBER, CocoLines, Sayings, number, pieces, real, split, stamp
from parity.logs.names import metric

NAME = "NanoDet text log"
LINE = re.compile(
    r"(?P<phase>train|val|test)\|\s*Epoch\s*(?P<epoch>\d{1,9})/(?P<epochs>\d{1,9})\|\s*Iter\s*(?P<step>\d{1,9})"
    r"\(\s*(?P<i>\d{1,9})/\s*(?P<n>\d{1,9})\)\|",
    re.I,
)
_PAIR = re.compile(rf"([A-Za-z_]\w*)\s*:\s*({NUMBER})")
_METRICS = re.compile(r"(?:Val_metrics|eval_results|metrics)\s*:?\s*(\{.*\})")
_EPOCH = re.compile(r"^\s*Epoch\s*:\s*(\d{1,9})\s*$")
_STAMP = re.compile(r"\[(\d\d-\d\d \d\d:\d\d:\d\d)\]")


def recognise(text: str) -> bool:
    return bool(LINE.search(text))


class Reader:
    """NanoDet prints no total; the components it prints are weighted and its total is their sum."""

    processes = True

    def __init__(self, builder: Builder):
        self.builder, self.coco, self.sayings = builder, CocoLines(), Sayings()
        self.epoch: int | None = None

    def feed(self, line: int, text: str) -> None:
        builder = self.builder
        if self.coco.feed(line, text, builder):
            return
        if records := [*pieces(LINE, text)]:
            for head, rest in records:
                self._line(line, text, head, rest)
        elif found := _METRICS.search(text):
            self._metrics(line, found[1])
        elif found := _EPOCH.match(text):
            self.epoch = int(found[1])
        elif text.count("|") >= 4 and (classes := class_table(text)):
            for name, (ap50, ap) in classes.items():
                builder.class_ap(line, name, ap50, ap)
        elif (metrics := split(_PAIR.findall(text))[1]) and "|" not in text:
            builder.evaluation(line, self.epoch, metrics)  # a line of eval_results.txt: "mAP: 0.27"
        else:
            self.sayings.feed(line, text, builder)

    def close(self) -> None:
        self.coco.close(self.builder)

    def _line(self, line: int, text: str, head: re.Match, rest: str) -> None:
        values = split(_PAIR.findall(rest))[0]
        if "memory" in values:
            values["memory"] *= 1000  # printed in GB
        epoch = int(head["epoch"])
        if head["phase"].lower() != "train":
            return
        self.builder.settle_table(line)
        self.epoch = epoch
        parts = [value for name, value in values.items() if "loss" in name]
        if parts and "loss" not in values:
            values["loss"] = sum(parts)
            self.builder.fact("total loss", "sum of the printed components", line)
        self.builder.fact("epochs planned", int(head["epochs"]), line)
        when = _STAMP.search(text)
        self.builder.step(
            line, epoch, int(head["i"]), values,
            per_epoch=int(head["n"]), stamp=stamp(when[1]) if when else stamp(text),
        )  # fmt: skip

    def _metrics(self, line: int, text: str) -> None:
        text = re.sub(r"(?:np\.)?(?:float\d\d)\(([^()]*)\)", r"\1", text)
        text = re.sub(r"\bnan\b", "None", text)
        try:
            found = ast.literal_eval(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        if isinstance(found, dict):
            values = {metric(str(k)): real(v) for k, v in found.items() if metric(str(k))}
            self.builder.evaluation(line, self.epoch, {k: v for k, v in values.items() if v is not None})


def class_table(text: str) -> dict[str, tuple[float, float]]:
    """(AP50, AP) in points of each class in one row of the table `| class | AP50 | mAP | class | AP50 | mAP |`."""
    cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
    found = {}
    for name, ap50, ap in zip(cells[0::3], cells[1::3], cells[2::3], strict=False):
        if name and re.fullmatch(NUMBER, ap50) and re.fullmatch(NUMBER, ap):
            found[name] = (number(ap50), number(ap))
    return found
