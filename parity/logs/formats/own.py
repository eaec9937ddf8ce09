"""This project's own `metrics.jsonl`: one line per step and per epoch."""

from pathlib import Path
from typing import Any

from parity.files import read_json
from parity.logs.builder import Builder
from parity.logs.formats.common import real, whole
from parity.logs.formats.json_lines import record_of

NAME = "metrics.jsonl of this project"


def recognise(text: str) -> bool:
    record = record_of(text)
    return record is not None and record.get("kind") in ("step", "epoch") and record["kind"] in record


class Reader:
    processes = False

    def __init__(self, builder: Builder):
        self.builder = builder

    def feed(self, line: int, text: str) -> None:
        record = record_of(text)
        if record is None or record.get("kind") not in ("step", "epoch"):
            self.builder.damaged(line)
            return
        losses = {name: v for name, value in _items(record, "losses") if (v := real(value)) is not None}
        losses = {name if "loss" in name else f"loss_{name}": value for name, value in losses.items()}
        total, epoch = real(record.get("total")), whole(record.get("epoch"))
        if total is not None:
            losses["loss"] = total
        seconds = {name: v for name, value in _items(record, "seconds") if (v := real(value)) is not None}
        if record["kind"] == "step":
            self._step(line, record, epoch, losses, seconds)
        elif epoch is not None:
            times = {
                f"{key[:5].replace('evalu', 'val')}_s": v for key, v in seconds.items() if key in ("train", "evaluate")
            }
            self.builder.epoch(line, epoch, losses | times, whole=False)
            metrics = {
                name: v for name, value in _items(record, "metrics") if (v := real(value)) is not None and v >= 0
            }
            self.builder.evaluation(line, epoch, metrics)

    def close(self) -> None:
        """Nothing is pending between lines."""

    def _step(
        self, line: int, record: dict[str, Any], epoch: int | None, losses: dict[str, float], seconds: dict[str, float]
    ) -> None:
        rates = record.get("lr")
        rate = real(rates[0]) if isinstance(rates, list) and rates else real(rates)
        values = dict(losses)
        if rate is not None:
            values["lr"] = rate
        if "step" in seconds:
            values["time"] = seconds["step"]  # waiting for data included
        if "data" in seconds:
            values["data_time"] = seconds["data"]
        if (norm := real(record.get("grad_norm"))) is not None:
            values["grad_norm"] = norm
        images = record.get("images")
        self.builder.fact("batch size", len(images) if isinstance(images, list) else whole(images), line)
        self.builder.step(line, epoch, None, values, step=whole(record.get("step")))


def facts_of_manifest(path: Path, builder: Builder) -> None:
    """The conditions of the run, from the manifest `run.json` beside the log."""
    record = read_json(path)
    if not isinstance(record, dict):
        return

    def at(*keys: str) -> Any:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    names = {
        "parameters": at("parameters", "total"),
        "trainable parameters": at("parameters", "trainable"),
        "batch size": at("batch_size"),
        "epochs planned": at("epochs"),
        "classes": at("num_classes"),
        "training images": at("train_images"),
        "validation images": at("val_images"),
        "model": at("model"),
        "optimiser": at("optimizer") if isinstance(at("optimizer"), str) else at("optimizer", "name"),
        "seed": at("seed"),
        "GPU": at("host", "gpu"),
        "device": at("device"),
        "CPU": at("host", "cpu"),
        "precision": at("precision"),
    }
    for name, value in names.items():
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            builder.fact(name, value, 0)


def _items(record: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    value = record.get(key)
    return [(str(k), v) for k, v in value.items()] if isinstance(value, dict) else []
