"""Text logs of jittordet, the detection toolbox in Jittor."""

import re

from parity.logs.builder import Builder
from parity.logs.formats.common import PAIR, CocoLines, Sayings, pieces, split, stamp

NAME = "jittordet text log"
TRAIN = re.compile(
    r"Epoch \[\s*(?P<epoch>\d{1,9})/\s*(?P<epochs>\d{1,9})\]\s+Iter \[\s*(?P<i>\d{1,9})/\s*(?P<n>\d{1,9})\]"
)
EVALUATE = re.compile(r"\((?P<phase>val|test)\)\s*\[\d+/\d+\]\[\s*(?P<i>\d{1,9})/\s*(?P<n>\d{1,9})\]")


def recognise(text: str) -> bool:
    return bool(TRAIN.search(text) or EVALUATE.search(text))


class Reader:
    """jittordet prints its metrics twice; the second line says the same about the same epoch and adds nothing. COCO
    tables go to another stream and arrive late, so that none can be taken for the evaluation beside it."""

    processes = True

    def __init__(self, builder: Builder):
        builder.tables_lead = False
        self.builder, self.coco, self.sayings = builder, CocoLines(), Sayings()
        self.epoch: int | None = None

    def feed(self, line: int, text: str) -> None:
        builder = self.builder
        if self.coco.feed(line, text, builder):
            return
        if records := [*pieces(TRAIN, text)]:
            for head, rest in records:
                values, _, digits = split(PAIR.findall(rest))
                if not values:
                    continue
                self.epoch = int(head["epoch"])
                builder.fact("epochs planned", int(head["epochs"]), line)
                builder.step(
                    line, self.epoch, int(head["i"]), values,
                    per_epoch=int(head["n"]), stamp=stamp(text), decimals=digits,
                )  # fmt: skip
        elif head := EVALUATE.search(text):
            values, _, _ = split(PAIR.findall(text[head.end() :]))
            if "time" in values:
                builder.timing(line, head["phase"], int(head["i"]), values["time"], stamp(text), int(head["n"]))
        elif "mAP" in text and (metrics := split(PAIR.findall(text))[1]):
            builder.evaluation(line, self.epoch, metrics)
        else:
            self.sayings.feed(line, text, builder)

    def close(self) -> None:
        self.coco.close(self.builder)
