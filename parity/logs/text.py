"""Lines of a text file of unknown origin, one by one: encodings, carriage returns and colours are dealt with here."""

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from parity.errors import UserError

BLOCK = 1 << 20
LONGEST = 4 << 20  # characters of one line; the rest is left out, so that no file can fill the memory

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def wide_encoding(head: bytes) -> str | None:
    """The encoding of a file whose characters are two or four bytes wide; None for all others."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    sample = head[:4096]
    if len(sample) >= 4:  # without a BOM: ASCII text has its zeros in every second byte
        pairs = len(sample) // 2
        even, odd = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
        if odd > 0.4 * pairs and even < 0.1 * pairs:
            return "utf-16-le"
        if even > 0.4 * pairs and odd < 0.1 * pairs:
            return "utf-16-be"
    return None


class TextFile:
    """A text file read once from front to back in bounded memory; what was found out is known afterwards.

    encodings   how many lines were in which encoding (ASCII counts as UTF-8)
    sha256      of the bytes
    lines       physical lines (ends of line, as editors count)
    torn        the last line has no end, so that its writer may have been stopped in it
    oddities    special things that were found: "carriage returns", "colours", "undecodable", "long lines", "BOM"
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.encodings: Counter[str] = Counter()
        self.oddities: Counter[str] = Counter()
        self.sha256 = ""
        self.bytes = 0
        self.lines = 0
        self.torn = False

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """(line number from 1, text) of every piece between ends of line or carriage returns, blank ones left out."""
        number = 1
        for raw, ended in self._raw_lines():
            text = self._decode(raw) if isinstance(raw, bytes) else raw
            text = text[:-1] if text.endswith("\r") else text
            if not ended:
                self.torn = bool(text.strip())
            if "\x1b" in text:
                self.oddities["colours"] += 1
                text = _ANSI.sub("", text)
            if "\r" in text:
                self.oddities["carriage returns"] += 1
            for piece in text.split("\r"):
                piece = piece.replace("\x00", "").replace("\ufeff", "")
                if piece and not piece.isspace():
                    yield number, piece
            self.lines = number
            number += ended
        self.sha256 = self._sha.hexdigest()

    def _raw_lines(self) -> Iterator[tuple[bytes | str, bool]]:
        """(line without its end, whether it had one); bytes for one-byte encodings, str for wide ones."""
        self._sha = hashlib.sha256()
        try:
            with open(self.path, "rb") as handle:
                block = handle.read(BLOCK)
                wide = wide_encoding(block)
                decoder = codecs.getincrementaldecoder(wide)("replace") if wide else None
                if wide or block.startswith(codecs.BOM_UTF8):
                    self.oddities["BOM"] += block.startswith((codecs.BOM_UTF8, *(bom for bom, _ in _BOMS)))
                rest: bytes | str = "" if wide else b""
                end, middle = ("\n", "\r") if wide else (b"\n", b"\r")
                while block:
                    self._sha.update(block)
                    self.bytes += len(block)
                    data = decoder.decode(block) if decoder else block
                    *whole, rest = (rest + data).split(end)
                    for line in whole:
                        if wide:
                            self.encodings[wide] += 1
                        yield line, True
                    if len(rest) > BLOCK and middle in rest:  # a progress bar that never ends its line
                        done, _, rest = rest.rpartition(middle)
                        yield done, False
                    if len(rest) > LONGEST:
                        self.oddities["long lines"] += 1
                        rest = rest[:LONGEST]
                    block = handle.read(BLOCK)
                if rest:
                    if wide:
                        self.encodings[wide] += 1
                    yield rest, False
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _decode(self, raw: bytes) -> str:
        for encoding in ("utf-8", "gb18030"):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            self.encodings[encoding] += 1
            return text
        self.encodings["utf-8"] += 1
        self.oddities["undecodable"] += 1
        return raw.decode("utf-8", "replace")

    @property
    def encoding(self) -> str:
        """The encodings met, e.g. "utf-8" or "utf-8, gb18030 (3 lines)"."""
        return ", ".join(
            name if i == 0 else f"{name} ({count} lines)"
            for i, (name, count) in enumerate(self.encodings.most_common())
        )


# Several processes that write into one file say who they are in front of each line.
_RANK = re.compile(
    r"^\s*(?:\[\d+,(\d+)\]<std(?:out|err)>:\s?|\[?(?:local_)?rank[ =:]?\s?(\d+)\]?[:\s|]\s*|(\d{1,3}):\s(?=\S))", re.I
)


def rank_of(text: str) -> tuple[int | None, str]:
    """(number of the process that wrote the line, line without that mark); (None, line) when it does not say."""
    found = _RANK.match(text)
    if not found:
        return None, text
    return int(next(group for group in found.groups() if group is not None)), text[found.end() :]
