"""Tables with named columns: `metrics.csv` of PyTorch Lightning, any other CSV or TSV, JSON lines with named values."""

import csv
import re
from typing import Any

from parity.logs.builder import Builder
from parity.logs.formats.common import NUMBER, named, stamp, whole
from parity.logs.formats.json_lines import record_of
from parity.logs.names import bare, metric, quantity

_EPOCH = ("epoch", "ep", "epochs", "epoch_idx", "当前轮")
_STEP = ("step", "global_step", "iteration", "iter", "it", "batch", "steps", "trainer/global_step")
_TIME_OF_DAY = ("timestamp", "datetime", "date", "wall_time", "_timestamp")
_IN_EPOCH = ("iter", "batch", "it", "batch_idx")
_FACTS = {
    "n_parameters": "parameters",
    "parameters": "parameters",
    "batch_size": "batch size",
    "num_classes": "classes",
}
_VALUE = re.compile(NUMBER)


def put(line: int, record: dict[str, Any], builder: Builder) -> bool:
    """Put one row of named values into the record; False when nothing in it is known."""
    keys = {str(key).strip().lower(): key for key in record}
    keys |= {bare(str(key)).lower(): key for key in record if bare(str(key)).lower() in ("epoch", "iter", "step")}

    def first(names: tuple[str, ...]) -> int | None:
        return next(
            (found for n in names if n in keys and (found := whole(_number(record[keys[n]]))) is not None), None
        )

    epoch, step, inside = first(_EPOCH), first(_STEP), first(_IN_EPOCH)
    if step is not None and step == inside and "global_step" not in keys and "step" not in keys and epoch is not None:
        step = None  # `epoch, iter`: the iteration counts within the epoch unless it goes on beyond
    else:
        inside = None
    when = next((stamp(str(record[keys[n]])) for n in _TIME_OF_DAY if n in keys), None)
    if when is None:
        when = next((_number(record[keys[n]]) for n in _TIME_OF_DAY if n in keys), None)
    train, val, metrics = named({str(name): _number(value) for name, value in record.items()})
    for key, name in _FACTS.items():
        if key in keys and (count := whole(_number(record[keys[key]]))) is not None:
            builder.fact(name, count, line)
    if not (train or val or metrics):
        return False
    if step is None and inside is None:
        if epoch is not None:
            if "time" in train:  # one row per epoch: its time is that of the epoch
                train["train_s"] = train.pop("time")
            builder.epoch(line, epoch, train | val)
        elif train:
            builder.step(line, None, None, train, stamp=when)
    else:
        of_epoch = {
            name: value for name, value in train.items() if f"train_{name}_epoch" in keys or f"{name}_epoch" in keys
        }
        of_step = {
            name: value for name, value in train.items() if not of_epoch or f"{name}_epoch" not in _present(record)
        }
        if of_step:
            builder.step(line, epoch, inside, of_step, step=step, stamp=when)
        if epoch is not None and (val or (of_epoch and not of_step)):
            builder.epoch(line, epoch, val | (of_epoch if not of_step else {}), whole=False)
    if metrics:
        builder.evaluation(line, epoch, metrics, step=step)
    return True


def _present(record: dict[str, Any]) -> set[str]:
    """Names that have a number in this row, without `train`."""
    return {
        str(k).lower().removeprefix("train_").removeprefix("train/")
        for k, v in record.items()
        if _number(v) is not None
    }


def _number(value: Any) -> float | int | None:
    if isinstance(value, str):
        text = value.strip()
        if not _VALUE.fullmatch(text):
            return None
        return int(text) if text.isdigit() and len(text) < 16 else float(text)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def header_of(text: str) -> tuple[list[str], str] | None:
    """(column names, delimiter) when a line is the head of a table with columns that are known here."""
    for delimiter in (",", "\t", ";"):
        if delimiter not in text or text.lstrip().startswith(("{", "[")):
            continue
        try:
            names = next(csv.reader([text], delimiter=delimiter))
        except (csv.Error, StopIteration):
            continue
        names = [name.strip() for name in names]
        if len(names) < 2 or any(
            _VALUE.fullmatch(n) or len(n) > 80 or (":" in n and "/" not in n and "@" not in n) for n in names if n
        ):
            continue
        low = {name.lower() for name in names}
        places = low & {*_EPOCH, *_STEP}
        known = [name for name in names if quantity(name) or metric(name)]
        if known and (places or len(known) == len([n for n in names if n])):
            return names, delimiter
    return None


def is_lightning(names: list[str]) -> bool:
    """Whether the columns are those that PyTorch Lightning's CSVLogger writes."""
    low = {name.lower() for name in names}
    return {"epoch", "step"} <= low and any(
        re.search(r"^(train|val|lr-)|_(step|epoch)$", name) for name in low - {"step", "epoch"}
    )


class CsvReader:
    """Rows under a head; a second head in the file starts another table (a log that was opened twice)."""

    NAME = "CSV with named columns"
    processes = False

    def __init__(self, builder: Builder):
        self.builder = builder
        self.names: list[str] | None = None
        self.delimiter = ","

    @staticmethod
    def recognise(text: str) -> bool:
        return header_of(text) is not None

    def feed(self, line: int, text: str) -> None:
        if (found := header_of(text)) is not None:
            self.names, self.delimiter = found
            self.builder.header(line)
            if is_lightning(self.names):
                self.builder.source.format = "PyTorch Lightning metrics.csv"
            return
        if self.names is None:
            return
        try:
            cells = next(csv.reader([text], delimiter=self.delimiter))
        except (csv.Error, StopIteration):
            self.builder.damaged(line)
            return
        if len(cells) > len(self.names) or not put(line, dict(zip(self.names, cells, strict=False)), self.builder):
            self.builder.damaged(line)

    def close(self) -> None:
        """Nothing is pending between rows."""


class JsonReader:
    """JSON lines whose values have names that are known here; one level of nesting is read as `outer/inner`."""

    NAME = "JSON lines with named values"
    processes = False

    def __init__(self, builder: Builder):
        self.builder = builder

    @staticmethod
    def recognise(text: str) -> bool:
        record = record_of(text)
        return record is not None and any(quantity(n) or metric(n) for n in flat(record))

    def feed(self, line: int, text: str) -> None:
        record = record_of(text)
        if record is None or not put(line, flat(record), self.builder):
            self.builder.damaged(line)

    def close(self) -> None:
        """Nothing is pending between lines."""


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its inner objects laid out as `outer/inner`.

    This is not `parity.files.leaves`, because deeper levels and lists are no quantities of a log.
    """
    result: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            result |= {f"{key}/{inner}": v for inner, v in value.items() if not isinstance(v, (dict, list))}
        elif not isinstance(value, list):
            result[str(key)] = value
    return result
