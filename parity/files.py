"""Small file helpers: everything is written under a temporary name in the same directory and renamed into place.

A file is either as it was or complete, whatever happens in between: killed, out of space, or without power.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from parity.errors import UserError

TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")  # what `atomic` calls a file until it is complete
LOCK = ".lock"


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path; on success it is fsynced and renamed to `path`, on failure it is removed.

    The directory is fsynced as well, so that the new name survives a power cut together with the content.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # the error that is already raised says more
            temporary.unlink(missing_ok=True)


def sync(path: str | os.PathLike) -> None:
    """Write a file, or the names in a directory, to the disk before returning."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: str | os.PathLike) -> None:
    """Remove half-written files of writers that were killed. The caller must hold the lock of the folder."""
    for path in Path(folder).glob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes from working in a folder. Raises UserError when one already does.

    The kernel releases the lock when its holder ends, however it ends. The file `.lock` stays and means nothing. Forked
    children do not hold the lock: compilers that outlive a killed training must not block its folder.
    """
    from filelock import FileLock, Timeout  # only training needs it; this module also runs without packages

    folder = Path(folder)
    # A soft lock, which the library falls back to where a file system has none, would outlive a killed holder.
    options = {"blocking": False, "preserve_lock_file": True, "fallback_to_soft": False}
    lock = FileLock(folder / LOCK, on_acquired=_sign, **options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        who = (folder / LOCK).read_text(errors="replace").strip()
        raise UserError(
            f"{folder}: another training is at work here (process {who or 'unknown'}); wait for it or stop it"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UserError(f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield
    finally:
        lock.release()


def _sign(descriptor: int) -> None:
    """Write who holds a lock into its file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any, indent: int | None = 1) -> None:
    """Write JSON atomically. NaN and infinity are refused, because JSON has no word for them."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON. Raises UserError naming the file, and the line where it stops being JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows editors put a byte order mark in front
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not valid JSON: {error.msg} at line {error.lineno}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply to be a data file") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise UserError(f"{path}: is not valid JSON: {error}") from error


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a UTF-8 text file that are not blank. Raises UserError naming the file."""
    try:
        return [line for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-able value in canonical form: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of a file's bytes, read in pieces."""
    sha = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def leaves(value: Any, prefix: str = "", whole_lists: bool = False) -> list[tuple[str, Any]]:
    """(dotted path, value) of everything in a JSON-able value that is no container; an empty container is a value.

    `whole_lists`: a list is a value as well.
    """
    if isinstance(value, dict) and value:
        places = {key: f"{prefix}.{key}" if prefix else str(key) for key in value}
        return [leaf for key, place in places.items() for leaf in leaves(value[key], place, whole_lists)]
    if isinstance(value, list) and value and not whole_lists:
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, f"{prefix}[{i}]")]
    return [(prefix, value)]
