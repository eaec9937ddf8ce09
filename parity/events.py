"""The records of TensorBoard event files, read and written.

A file is a row of records: length (8 bytes), its masked CRC-32C (4), that many bytes, their CRC (4). The bytes are a
message `Event`, whose type comes with tensorboardX. That package is imported only where such a file is read or written:
it takes a quarter of a second.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity.errors import UserError

LONGEST = 64 << 20  # bytes of one record; images and graphs may be large, scalars are not


def masked_crc(data: bytes) -> int:
    """The checksum that stands in a record."""
    from tensorboardX.crc32c import crc32c

    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def packed(payload: bytes) -> bytes:
    """A record as it stands in the file."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", masked_crc(length)) + payload + struct.pack("<I", masked_crc(payload))


def records(path: Path, hashed: Any = None) -> Iterator[bytes]:
    """Payloads of the records of one file; ends quietly at a torn or damaged one.

    `hashed`, an object of hashlib, is fed every byte that is read. Raises UserError when the file cannot be read.
    """
    feed = hashed.update if hashed is not None else lambda data: None
    try:
        with open(path, "rb") as handle:
            while len(head := handle.read(12)) == 12:
                feed(head)
                length, crc = struct.unpack("<QI", head)
                if masked_crc(head[:8]) != crc or length > LONGEST:
                    return
                payload = handle.read(length)
                tail = handle.read(4)
                feed(payload + tail)
                if len(payload) < length or len(tail) < 4 or masked_crc(payload) != struct.unpack("<I", tail)[0]:
                    return
                yield payload
            feed(head)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
