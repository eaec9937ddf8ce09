"""Unpacking zip and tar archives whose content is not trusted: files and folders below one folder, within bounds.

It refuses absolute names, `..`, links, devices, encrypted members, and more files or bytes than were allowed. Bytes
are counted while they are written, because an archive may announce too few. A zip's CRCs are checked as well.
"""

import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from parity.errors import UserError

BLOCK = 1 << 20
SECONDS_BETWEEN_LINES = 5.0

Member = tuple[str, Callable[[], IO[bytes]] | None]  # name, and how to read it; None for a folder


def unpack(
    archive: Path, folder: Path, prefix: str, most_files: int, most_bytes: int, say: Callable[[str], None]
) -> int:
    """Write the files of a zip or tar archive below `folder` and return how many there are.

    `prefix` is the folder of the archive that becomes `folder`; what lies outside it is refused, "" takes everything.
    Raises UserError naming archive and member; what was written until then stays for the caller to remove.
    """
    files = written = 0
    told = time.monotonic()
    try:
        for name, open_member in _members(archive):
            place = _place(archive, name, prefix)
            if open_member is None:
                continue
            files += 1
            if files > most_files:
                raise UserError(f"{archive}: holds more than {most_files} files, that is not what was expected")
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source, open(target, "xb") as sink:
                while block := source.read(BLOCK):
                    written += len(block)
                    if written > most_bytes:
                        raise UserError(f"{archive}: unpacks to more than {most_bytes} bytes, refused")
                    sink.write(block)
            if time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                say(f"{archive.name}: unpacked {files} files, {written / 1e6:.1f} MB")
    except FileExistsError as error:
        raise UserError(f"{archive}: holds {error.filename} twice") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{archive}: cannot be unpacked: {error}") from error
    return files


def _members(archive: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UserError(f"{archive}: {entry.filename} is neither a file nor a folder, refused")
                yield entry.filename, None if entry.is_dir() else lambda e=entry: opened.open(e)
        return
    with tarfile.open(archive, "r:") as opened:
        for entry in opened:
            if not entry.isreg() and not entry.isdir():
                raise UserError(f"{archive}: {entry.name} is neither a file nor a folder, refused")
            yield entry.name, None if entry.isdir() else lambda e=entry: opened.extractfile(e)


def _place(archive: Path, name: str, prefix: str) -> PurePosixPath:
    """The place of a member, relative to the folder; folders above `prefix` give `.`"""
    path, top = PurePosixPath(name), PurePosixPath(prefix)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UserError(f"{archive}: {name!r} leaves the folder, refused")
    if path in top.parents:
        return PurePosixPath(".")
    if not path.is_relative_to(top):
        raise UserError(f"{archive}: {name!r} lies outside {prefix}, that is not what was expected")
    return path.relative_to(top)
