"""TensorBoard event files: their scalars, read with the message types of tensorboardX.

A file is a row of records: length (8 bytes), its masked CRC-32C (4), that many bytes, their CRC (4).
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from parity.errors import UserError
from parity.logs.builder import Builder
from parity.logs.names import bare, metric, phase, quantity

NAME = "TensorBoard event file"
LONGEST = 64 << 20  # bytes of one record; images and graphs may be large, scalars are not
SCALARS = 100_000  # bytes of a record beyond which it holds no plain scalar and is passed over
TAGS = 400


def recognise_bytes(head: bytes) -> bool:
    """Whether a file begins with a record whose length has the right checksum."""
    return len(head) >= 12 and _masked_crc(head[:8]) == struct.unpack("<I", head[8:12])[0]


def _masked_crc(data: bytes) -> int:
    from tensorboardX.crc32c import crc32c  # only where such a file is read: it takes a quarter of a second

    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path, hashed) -> Iterator[bytes]:
    """Payloads of the records of one file; ends quietly at a torn or damaged one. `hashed` is fed every byte."""
    try:
        with open(path, "rb") as handle:
            while len(head := handle.read(12)) == 12:
                hashed.update(head)
                length, crc = struct.unpack("<QI", head)
                if _masked_crc(head[:8]) != crc or length > LONGEST:
                    return
                payload = handle.read(length)
                tail = handle.read(4)
                hashed.update(payload + tail)
                if len(payload) < length or len(tail) < 4 or _masked_crc(payload) != struct.unpack("<I", tail)[0]:
                    return
                yield payload
            hashed.update(head)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


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
