"""Download a file of known SHA-256: resumed after an interruption, verified, and in place only when it is whole.

The bytes that have arrived are kept beside the target as `.<name>.<digest>.part`. The next call, or the next attempt
of this one, asks the server for the rest (HTTP Range). It starts over where the server does not know ranges.

The library pooch verifies digests too, but it begins a broken download anew, which hurts with archives of 19 GB.
"""

import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from parity.errors import UserError
from parity.files import atomic, file_sha256

BLOCK = 1 << 18
LIMIT = 8 << 30  # bytes; nothing that belongs here is larger
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another attempt may not meet
SECONDS_BETWEEN_LINES = 5.0

Say = Callable[[str], None]


def say_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def is_url(text: str) -> bool:
    """Whether `text` is a URL rather than a path."""
    return "://" in text


def local(source: str, sha256: str | None, folder: str | Path, size: int | None = None) -> Path:
    """Path of weights given as a path or as a URL; a URL is fetched into `folder`, a digest is always checked."""
    if is_url(source):
        name = Path(urllib.parse.unquote(urllib.parse.urlsplit(source).path)).name
        if name in ("", ".", ".."):
            raise UserError(f"{source}: names no file")
        if not sha256:
            raise UserError(f"{source}: a download needs its SHA-256 (key sha256)")
        return fetch(source, Path(folder) / name, sha256, size)
    path = Path(source)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if sha256:
        _verify(path, _digest(source, sha256))
    return path


def _digest(source: str, sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        raise UserError(f"{source}: sha256 is {sha256!r}, expected 64 hexadecimal digits")
    return sha256.lower()


def _verify(path: Path, sha256: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise UserError(f"{path}: has SHA-256 {found}, expected {sha256}")


def fetch(
    url: str,
    target: str | Path,
    sha256: str | None,
    size: int | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
    pause: float = 1.0,
    say: Say = say_to_stderr,
) -> Path:
    """Make `target` the file at `url` (http, https or file) and return its path.

    A target that already has the digest is left alone. Without a digest (None) any content is accepted: for files that
    are read guardedly and whose sum the caller then reports. `size` in bytes, where known, stops a wrong file early.
    `attempts` counts attempts in a row that bring nothing new; `timeout` and `pause` are in seconds. Raises UserError
    for another scheme, an answer that will not change, a file that never arrives whole, and a wrong digest (the file is
    then removed).
    """
    target, sha256 = Path(target), _digest(url, sha256) if sha256 is not None else None
    scheme = urllib.parse.urlsplit(url).scheme.lower()
    if scheme not in ("http", "https", "file"):
        raise UserError(f"{url}: expected an http, https or file URL")
    if target.is_file() and sha256 in (None, file_sha256(target)):
        return target
    if scheme == "file":
        return _copy(url, target, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{(sha256 or 'unknown')[:12]}.part")
    _collect(url, part, size, attempts, timeout, pause, say)
    found = file_sha256(part)
    if sha256 not in (None, found):
        part.unlink()
        raise UserError(f"{url}: has SHA-256 {found}, expected {sha256}; the download was removed")
    os.replace(part, target)
    say(f"{target.name}: complete, {target.stat().st_size / 1e6:.1f} MB")
    return target


def _copy(url: str, target: Path, sha256: str | None) -> Path:
    source = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    if not source.is_file():
        raise UserError(f"{url}: no such file")
    if sha256 is not None:
        _verify(source, sha256)
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


def _collect(url: str, part: Path, size: int | None, attempts: int, timeout: float, pause: float, say: Say) -> None:
    """Fill `part` until the server has no more, trying again while attempts bring something."""
    fruitless, most = 0, part.stat().st_size if part.exists() else 0
    while True:
        try:
            if _transfer(url, part, size, timeout, say):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise UserError(f"{url}: the server answers {error.code} {error.reason}") from error
            reason = f"the server answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        arrived = part.stat().st_size if part.exists() else 0
        fruitless = 0 if arrived > most else fruitless + 1
        most = max(most, arrived)
        if fruitless >= attempts:
            raise UserError(f"{url}: gave up after {attempts} attempts without progress: {reason}")
        say(f"{part.name}: {reason} at {arrived / 1e6:.1f} MB, trying again")
        time.sleep(pause * 2**fruitless)


def _transfer(url: str, part: Path, size: int | None, timeout: float, say: Say) -> bool:
    """One request for what is missing; True when the file is as long as it was announced to be."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have >= size:
        return _as_announced(url, part, have, size)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "detector-parity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the file ends here: it is complete, or it is another file; the digest tells
            return True
        raise
    with answer:
        start, total = _extent(answer, have)
        if start not in (0, have):
            raise http.client.HTTPException(f"the server continues at byte {start} instead of {have}")
        if total is not None and total > (size or LIMIT):
            raise UserError(f"{url}: announces {total} bytes, expected {size or f'at most {LIMIT}'}")
        arrived, told = start, time.monotonic()
        with open(part, "ab" if start else "wb") as handle:
            while block := answer.read(BLOCK):
                handle.write(block)
                arrived += len(block)
                if arrived > (size or LIMIT):
                    handle.close()
                    part.unlink()
                    raise UserError(f"{url}: is larger than {size or LIMIT} bytes; the download was removed")
                if time.monotonic() - told > SECONDS_BETWEEN_LINES:
                    told = time.monotonic()
                    whole = f" of {total / 1e6:.1f} MB ({100 * arrived // total} %)" if total else " MB"
                    say(f"{part.name}: {arrived / 1e6:.1f}{whole}")
    expected = total if total is not None else size
    return expected is None or arrived == expected


def _as_announced(url: str, part: Path, have: int, size: int) -> bool:
    if have > size:
        part.unlink()
        raise UserError(f"{url}: the partial download is larger than {size} bytes and was removed")
    return True


def _extent(answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """(first byte of this answer, length of the whole file or None when the server does not say)."""
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None:
            raise http.client.HTTPException("the server answers a range without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    return 0, int(length) if length and length.isdigit() else None
