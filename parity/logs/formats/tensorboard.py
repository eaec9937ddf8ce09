"""TensorBoard event files: their scalars, read with the message types of tensorboardX."""

import struct
from pathlib import Path

from parity.events import masked_crc, records
from parity.logs.builder import Builder
from parity.logs.names import bare, metric, phase, quantity

NAME = "TensorBoard event file"
SCALARS = 100_000  # bytes of a record beyond which it holds no plain scalar and is passed over
TAGS = 400


def recognise_bytes(head: bytes) -> bool:
    """Whether a file begins with a record whose length has the right checksum."""
    return len(head) >= 12 and masked_crc(head[:8]) == struct.unpack("<I", head[8:12])[0]


def read(path: Path, builder: Builder, hashed) -> int:
    """Put the scalars of a file into a record, in the order written; returns how many records were read.

    Scalars of one step arrive one by one and are put together. `line` is the number of the record.
    """
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    count = 0
    waiting: dict[str, float] = {}
    place: tuple[int, int, float] | None = None
    for count, payload in enumerate(records(path, hashed), 1):
        if len(payload) > SCALARS:
            continue
        event = Event()
        try:
            event.ParseFromString(payload)
        except DecodeError:
            builder.damaged(count)
            continue
        for value in event.summary.value:
            number = _scalar(value)
            if number is None:
                continue
            if place is not None and place[0] != event.step:
                _put(place, waiting, builder)
                waiting = {}
            place = (event.step, count, event.wall_time)
            if len(waiting) < TAGS:
                waiting.setdefault(value.tag, number)
    if place is not None:
        _put(place, waiting, builder)
    return count


def _scalar(value) -> float | None:
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind == "tensor":
        numbers = value.tensor.float_val or value.tensor.double_val
        if len(numbers) == 1:
            return float(numbers[0])
        if value.tensor.dtype == 1 and len(value.tensor.tensor_content) == 4:
            return struct.unpack("<f", value.tensor.tensor_content)[0]
    return None


def _put(place: tuple[int, int, float], values: dict[str, float], builder: Builder) -> None:
    step, line, wall = place
    if step < 0:
        return
    metrics = {called: v for tag, v in values.items() if (called := metric(tag))}
    train: dict[str, float] = {}
    validation: dict[str, float] = {}
    epoch = next((int(v) for tag, v in values.items() if bare(tag).lower() == "epoch" and 0 <= v < 1e9), None)
    for tag, value in values.items():
        if metric(tag) or not (known := quantity(tag)):
            continue
        name, factor = known
        if phase(tag) == "train":
            train.setdefault(name, value * factor)
        elif "loss" in name:
            validation.setdefault(f"val {name}", value)
    if metrics:
        builder.evaluation(line, epoch, metrics, step=step)
    if train:
        builder.step(line, epoch, None, train, step=step, stamp=wall)
    if validation and epoch is not None:
        builder.epoch(line, epoch, validation, whole=False)
