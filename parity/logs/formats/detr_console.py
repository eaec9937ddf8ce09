"""The console output of DETR's and RT-DETR's training: lines of their MetricLogger, COCO tables, totals of an epoch."""

import re

from parity.logs.builder import Builder
from parity.logs.formats.common import NUMBER, CocoLines, Sayings, decimals, number, split, stamp

NAME = "DETR / RT-DETR console output"
LINE = re.compile(r"(?P<what>Epoch: \[(?P<epoch>\d{1,9})\]|Test:|Val:)\s+\[\s*(?P<i>\d{1,9})/(?P<n>\d{1,9})\]\s+eta:")
_PAIR = re.compile(rf"([A-Za-z_][\w]*|max mem): ({NUMBER})")
_TOTAL = re.compile(
    r"(?P<what>Epoch: \[(?P<epoch>\d{1,9})\]|Test:) Total time: "
    r"(?:(?P<d>\d+) days?, )?(?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d)"
)


def recognise(text: str) -> bool:
    return bool(LINE.search(text))


class Reader:
    """Reads the lines. From `loss: 49.1 (48.0)` it takes the first number, a median over the last 20 iterations; the
    number in brackets is the mean of the epoch so far."""

    processes = True

    def __init__(self, builder: Builder):
        self.builder, self.coco, self.sayings = builder, CocoLines(), Sayings()
        self.epoch: int | None = None

    def feed(self, line: int, text: str) -> None:
        builder = self.builder
        if self.coco.feed(line, text, builder):
            return
        if head := LINE.search(text):
            found = _PAIR.findall(text[head.end() :])
            values = split(found)[0]
            digits = next((decimals(value) for name, value in found if name == "time"), None)
            memory = next((number(value) for name, value in found if name == "max mem"), None)
            if memory is not None:
                values["memory"] = memory
            if head["epoch"] is None:
                if "time" in values:
                    builder.timing(line, "val", int(head["i"]), values["time"], stamp(text), int(head["n"]))
                return
            if not values:
                return
            builder.settle_table(line)
            self.epoch = int(head["epoch"])
            builder.step(
                line, self.epoch, int(head["i"]), values,
                per_epoch=int(head["n"]), stamp=stamp(text), decimals=digits,
            )  # fmt: skip
        elif found := _TOTAL.search(text):
            seconds = ((int(found["d"] or 0) * 24 + int(found["h"])) * 60 + int(found["m"])) * 60 + int(found["s"])
            if self.epoch is not None:
                key = "train_s" if found["epoch"] else "val_s"
                builder.epoch(line, self.epoch, {key: float(seconds)}, whole=False)
        else:
            self.sayings.feed(line, text, builder)

    def close(self) -> None:
        self.coco.close(self.builder)
        self.builder.settle_table(0)
