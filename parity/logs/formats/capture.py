"""Captured console output of no known tool: progress bars, `name: value` and `name=value` pairs, COCO tables.

A line counts when it has a known quantity. Its place is read from its text: `Epoch 3/50`, `[10/100]`, `step 200`,
`第3轮`, or the counter of a progress bar (tqdm, Lightning, Keras).
"""

import re

from parity.logs.builder import Builder
from parity.logs.formats.common import NUMBER, CocoLines, Sayings, split, stamp
from parity.logs.names import metric, phase, quantity

NAME = "console output with named values"
_PAIR = re.compile(
    r"([A-Za-z_损学总][^\s:=,|()\[\]{}'\"]{0,60}|learning rate|train loss|val loss|total loss|训练损失)['\"]?\s*[:=：]\s*"  # noqa: E501
    rf"({NUMBER})(?!\d|[:/]|\.\d)(\s*ms\b)?"
)
_EPOCH = re.compile(
    r"(?<![a-z_])epoch[s\s]*[:=#\-]?\s*[\[(]?\s*(\d{1,9})(?!\d|\.\d)(?:\s*(?:/|of)\s*(\d{1,9}))?|第\s*(\d{1,9})\s*(?:轮|个epoch)",
    re.I,
)
_STEP = re.compile(
    r"(?<![a-z_])(?:iter(?:ation)?|step|batch)[s\s]*[:=#]?\s*[\[(]?\s*(\d{1,9})(?!\d|\.\d)(?:\s*(?:/|of)\s*(\d{1,9}))?",
    re.I,
)
_GLOBAL = re.compile(r"global[_ ]step\s*[:=]?\s*(\d{1,9})", re.I)
_BAR = re.compile(r"(?<![\d.])(\d{1,9})/(\d{1,9})\s*(?:\[|━|=|-)")
_OF_IMAGES = re.compile(r"\[\s*(\d{1,9})/(\d{1,9})\s*\(\s*\d+%\)\]")  # counts images, not iterations
_BAR_SPEED = re.compile(r"[,\[]\s*([\d.]+)\s*(it/s|s/it|batch/s|s/batch)")
_EVALUATION = re.compile(r"\b(val|valid|validation|test|testing|eval|evaluat\w*|sanity)\b|验证|测试|评估", re.I)


def recognise(text: str) -> bool:
    if "Average " in text and CocoLines._LINE.search(text):
        return True
    known = [quantity(name) for name, _, _ in found] if (found := _PAIR.findall(text)) else []
    return any(metric(name) for name, _, _ in found) or any(k and ("loss" in k[0] or k[0] == "time") for k in known)


class Reader:
    processes = True

    def __init__(self, builder: Builder):
        self.builder, self.coco, self.sayings = builder, CocoLines(), Sayings()
        self.epoch: int | None = None
        self._bar: tuple[int, str, tuple] | None = None  # a bar is redrawn; only its last state at a place is kept

    def feed(self, line: int, text: str) -> None:
        if self.coco.feed(line, text, self.builder):
            return
        if found := _EPOCH.search(text):
            self.epoch = int(found[1] or found[3])
            if found[2]:
                self.builder.fact("epochs planned", int(found[2]), line)
        pairs = [(f"{name}_ms" if ms and "ms" not in name else name, value) for name, value, ms in _PAIR.findall(text)]
        values, metrics, digits = split([(n, v) for n, v in pairs if phase(n) == "train"])
        validation, more, _ = split([(n, v) for n, v in pairs if phase(n) == "val"])
        metrics = more | metrics
        evaluating = bool(_EVALUATION.search(text.split(":")[0])) or bool(metrics)
        bar = _BAR.search(text, place.end() if (place := _EPOCH.search(text)) else 0)
        if bar and (speed := _BAR_SPEED.search(text)):
            seconds = float(speed[1]) if speed[1].strip(".") and speed[1].count(".") < 2 else 0.0
            if seconds > 0:
                values.setdefault("time", seconds if speed[2].startswith("s/") else 1 / seconds)
                digits = None
        if not (values or metrics or validation):
            self.sayings.feed(line, text, self.builder)
            return
        if evaluating and not ("loss" in values and bar is None and not metrics):
            self._evaluation(line, text, values, validation, metrics, bar)
            return
        self.builder.settle_table(line)
        self._train(line, text, values, bar, digits)
        if validation and self.epoch is not None:
            self._validation(line, validation)

    def close(self) -> None:
        self.coco.close(self.builder)
        self.builder.settle_table(0)

    def _train(self, line: int, text: str, values: dict[str, float], bar: re.Match | None, digits: int | None) -> None:
        step, total = None, None
        if found := _GLOBAL.search(text):
            self.builder.step(line, self.epoch, None, values, step=int(found[1]), stamp=stamp(text), decimals=digits)
            return
        if found := _STEP.search(text):
            step, total = int(found[1]), int(found[2]) if found[2] else None
        elif bar:
            step, total = int(bar[1]), int(bar[2])
        elif found := _OF_IMAGES.search(text):
            step = int(found[1])
        if step is None and self.epoch is not None:
            if "time" in values:
                values["train_s"] = values.pop("time")
            self.builder.epoch(line, self.epoch, values, whole=False)
        elif total is not None and self.epoch is not None:
            self.builder.step(
                line, self.epoch, step, values, per_epoch=total or None, stamp=stamp(text), decimals=digits
            )
        elif step is not None and self.epoch is not None:
            self.builder.step(line, self.epoch, step, values, stamp=stamp(text), decimals=digits)
        else:
            self.builder.step(line, None, None, values, step=step, stamp=stamp(text), decimals=digits)

    def _evaluation(
        self, line: int, text: str, values: dict[str, float], validation: dict[str, float],
        metrics: dict[str, float], bar: re.Match | None,
    ) -> None:  # fmt: skip
        if metrics:
            self.builder.evaluation(line, self.epoch, metrics)
            training = {("train_s" if name == "time" else name): value for name, value in values.items()}
            if training and self.epoch is not None and bar is None:
                self.builder.epoch(line, self.epoch, training, whole=False)
        elif "time" in values and bar:
            self.builder.timing(line, "val", int(bar[1]), values["time"], stamp(text), int(bar[2]))
        else:
            validation = validation | {name: value for name, value in values.items() if "loss" in name}
        if validation and self.epoch is not None:
            self._validation(line, validation)

    def _validation(self, line: int, values: dict[str, float]) -> None:
        losses = {f"val {name}": value for name, value in values.items() if "loss" in name}
        if losses:
            self.builder.epoch(line, self.epoch, losses, whole=False)
