"""`log.txt` of DETR and RT-DETR: one JSON object per epoch, with `test_coco_eval_bbox`."""

from typing import Any

from parity.logs.builder import Builder
from parity.logs.formats.common import coco_list, named, real, whole
from parity.logs.formats.json_lines import record_of

NAME = "DETR / RT-DETR log.txt (JSON lines)"
_FACTS = {
    "n_parameters": "parameters",
    "total_parameters": "parameters in total",
    "trainable_parameters": "trainable parameters",
    "train_batch_size": "batch size",
    "batch_size": "batch size",
    "num_classes": "classes",
    "model_type": "model",
    "backbone": "backbone",
}


def recognise(text: str) -> bool:
    if '"test_coco_eval_bbox"' not in text and '"train_loss"' not in text:
        return False
    record = record_of(text)
    return record is not None and "epoch" in record and ("test_coco_eval_bbox" in record or "n_parameters" in record)


class Reader:
    processes = False

    def __init__(self, builder: Builder):
        self.builder = builder

    def feed(self, line: int, text: str) -> None:
        record = record_of(text)
        epoch = whole(record.get("epoch")) if record else None
        if record is None or epoch is None:
            self.builder.damaged(line)
            return
        train, val, _ = named(record)
        self.builder.epoch(line, epoch, train | val | _times(record))
        metrics = coco_list(record.get("test_coco_eval_bbox"))
        if metrics:
            self.builder.evaluation(line, epoch, metrics)
        for key, name in _FACTS.items():
            value = record.get(key)
            if isinstance(value, str) or whole(value) is not None:
                self.builder.fact(name, value, line)

    def close(self) -> None:
        """Nothing is pending between lines."""


def _times(record: dict[str, Any]) -> dict[str, float]:
    """Times of an epoch, where a changed version of the code logs them."""
    value = real(record.get("train_time", record.get("epoch_time")))
    return {} if value is None else {"train_s": value}
