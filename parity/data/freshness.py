"""Which files a dataset was made from, and whether they are still as they were.

`Sources` collects them while a dataset is made: annotation files, label files, lists, images, and folders whose listing
decided what belongs to it. They are kept beside the dataset. `token` compares them later: size and time of the last
change of every file, and its SHA-256 where only the time differs. A file that was missing counts too.

The workflow gives `token` to the rule of the dataset as a parameter. It stays the same while the sources do, so that
Snakemake makes the dataset again when, and only when, one of them was changed. 100,000 files take about a second.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from parity.errors import UserError
from parity.files import digest, file_sha256, read_json, write_json

NAME = ".sources.json"
FIRST = "first"  # the token of a dataset that was made for the first time, not after a change
THREADS = 16  # on a network file system each look takes a while, and many can run at once


class Sources:
    """The files below `root` (or elsewhere) that a dataset is made from. Call before a file is read, not after."""

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root).absolute() if root else None
        self.given = str(root) if root else None
        self.files: dict[str, tuple[int, int] | None] = {}
        self.images: dict[str, str] = {}  # of a file -> where the dataset has it, relative to its folder
        self.folders: dict[str, list[str]] = {}  # folder -> suffixes of the names that count

    def file(self, path: str | Path, image: str | None = None) -> None:
        """Note a file as it is now; one that is not there is noted as missing. `image` is its place in the dataset."""
        key = self._key(path)
        if key not in self.files:
            self.files[key] = _stat(str(path))
        if image is not None:
            self.images[key] = image

    def folder(self, path: str | Path, suffixes: Iterable[str]) -> None:
        """Note which names with these suffixes a folder and those below it hold."""
        self.folders[self._key(path)] = sorted(suffixes)

    def save(self, folder: Path, answers: str, sums: Mapping[str, str]) -> None:
        """Write the notes into the dataset's folder, if there are any.

        `answers` is the token that this dataset was made for, `sums` the SHA-256 of its images by their place in it.
        """
        files: dict[str, Any] = {}
        for key, seen in self.files.items():
            place = _place(self.root, key)
            content = None
            if seen is not None and _stat(place) == seen:  # else it changed meanwhile; a sum must not hide that
                with suppress(OSError):
                    content = sums.get(self.images.get(key, "")) or file_sha256(place)
            files[key] = None if seen is None else [*seen, content]
        folders = {key: [names, _listing(_place(self.root, key), names)] for key, names in self.folders.items()}
        if files or folders:
            about = {"root": self.given, "answers": answers, "files": files, "folders": folders}
            write_json(folder / NAME, about, indent=None)

    def _key(self, path: str | Path) -> str:
        path = Path(path).absolute()
        inside = self.root is not None and path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else str(path)


def token(folder: str | Path, say: Callable[[str], None] = lambda _: None) -> str:
    """The token of the dataset's sources: while it stays the same, the dataset in `folder` need not be made again.

    For a dataset that is fresh it is the token that it was made for; FIRST for one that does not exist or that was made
    from no file. A changed file gives a new token and is named to `say`.
    """
    try:
        about = read_json(Path(folder) / NAME)
        changed = _changed(about, Path(folder))
    except (UserError, KeyError, TypeError, AttributeError):  # none was kept: Snakemake's own reasons decide
        return FIRST
    if changed is None:
        return about["answers"]
    say(f"data: {changed[0]} {changed[1]} since {folder} was made; the dataset is made again")
    return digest(changed)


def _changed(about: dict[str, Any], folder: Path) -> tuple[str, str, Any] | None:
    """(file, what happened to it, what it is now) of the first change, or None."""
    root = Path(about["root"]).absolute() if about["root"] else None
    if root is not None and not root.exists():
        return None  # the whole source is gone: a dataset could not be made from it
    keys = list(about["files"])
    places = [_place(root, key) for key in keys]
    touched = []
    for key, place, now in zip(keys, places, _stats(places), strict=True):
        then = about["files"][key]
        if (then is None) != (now is None):
            return place, "has appeared" if then is None else "has vanished", now
        if then is None or tuple(then[:2]) == now:
            continue
        if then[0] != now[0] or then[2] is None:
            return place, "was changed", now
        touched.append((key, place, now))
    for key, place, now in touched:  # same size, another time: compare the content
        content = file_sha256(place)
        if content != about["files"][key][2]:
            return place, "was changed", content
        about["files"][key] = [*now, content]
    for key, (suffixes, names) in about["folders"].items():
        now = _listing(_place(root, key), suffixes)
        if now != names:
            return _place(root, key), "holds other files", now
    if touched:
        with suppress(UserError):  # only saves the next comparison
            write_json(folder / NAME, about, indent=None)
    return None


def _place(root: Path | None, key: str) -> str:
    return key if root is None else os.path.join(root, key)


def _stat(path: str) -> tuple[int, int] | None:
    """(bytes, time of the last change in ns), or None where there is no file."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return about.st_size, about.st_mtime_ns


def _stats(places: list[str]) -> list[tuple[int, int] | None]:
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [places[i : i + 2000] for i in range(0, len(places), 2000)]
        return [found for part in pool.map(lambda part: [_stat(place) for place in part], parts) for found in part]


def _listing(folder: str, suffixes: list[str]) -> str:
    """Digest of the names below a folder that have one of the suffixes; hidden files do not count."""
    return digest(sorted(path for path in walk(folder) if path.lower().endswith(tuple(suffixes))))


def walk(folder: str | Path) -> Iterator[str]:
    """Paths of all files below a folder, relative to it and with `/`; linked folders are not entered.

    Hidden files and folders are left out: `._a.jpg` and `__MACOSX` are what macOS leaves in archives.
    """
    top = os.fspath(folder)
    for place, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in sorted(files):
            if not _hidden(name):
                yield os.path.relpath(os.path.join(place, name), top).replace(os.sep, "/")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
