"""JSON logs of MMDetection: `.log.json` of version 2 and `scalars.json` of version 3."""

import re
from typing import Any

from parity.logs.builder import Builder
from parity.logs.formats.common import named, whole
from parity.logs.formats.json_lines import record_of
from parity.logs.formats.mmdetection import facts_of_config, python_config

NAME = "MMDetection JSON log"


def recognise(text: str) -> bool:
    record = record_of(text)
    if record is None:
        return False
    if "mode" in record:
        return record["mode"] in ("train", "val") and "iter" in record
    if "env_info" in record or "coco/bbox_mAP" in record:
        return True
    return {"lr", "data_time", "time", "iter", "step"} <= set(record)


class Reader:
    processes = False

    def __init__(self, builder: Builder):
        self.builder = builder
        self.epoch: int | None = None

    def feed(self, line: int, text: str) -> None:
        record = record_of(text)
        if record is None:
            self.builder.damaged(line)
        elif "env_info" in record or "config" in record:
            self._start(line, record)
        else:
            self._record(line, record)

    def close(self) -> None:
        """Nothing is pending between lines."""

    def _record(self, line: int, record: dict[str, Any]) -> None:
        train, _, metrics = named(record)
        epoch, iteration, step = (whole(record.get(key)) for key in ("epoch", "iter", "step"))
        if metrics:
            # version 3 logs an evaluation with nothing but a `step`, which is the epoch where it trains by epochs
            by_epoch = epoch if epoch is not None else step if self.epoch is not None else None
            self.builder.evaluation(line, by_epoch, metrics, step=step if by_epoch is None else None)
        elif record.get("mode", "train") == "train" and train:
            self.epoch = epoch
            if step is not None and iteration is not None and epoch is not None and step == iteration:
                self.builder.step(line, epoch, None, train, step=step)  # version 3: `iter` counts over the whole run
            else:
                self.builder.step(line, epoch, iteration, train, step=step if iteration is None else None)
        elif not train:
            self.builder.damaged(line)

    def _start(self, line: int, record: dict[str, Any]) -> None:
        """The first line of a process: environment, configuration, seed."""
        builder = self.builder
        builder.header(line)
        if isinstance(record.get("config"), str):
            facts_of_config(python_config(record["config"]), line, builder)
        if whole(record.get("seed")) is not None:
            builder.fact("seed", record["seed"], line)
        environment = record.get("env_info")
        if isinstance(environment, str):
            for name, pattern in (("GPU", r"GPU [\d,]+: ([^\n]+)"), ("PyTorch", r"PyTorch: ([\w.+]+)")):
                if found := re.search(pattern, environment):
                    builder.fact(name, found[1].strip(), line)
