"""Find the file that an annotation means, although another system wrote its name.

It tries the name as it stands, backslashes as separators (Windows), `%20` decoded (exports of web tools), and both
Unicode forms of accents (macOS); each below the image folder, then below the dataset's root. A name may be absolute or
climb with `..` as long as it ends inside the image folder.
"""

import os
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote


def forms(name: str) -> list[str]:
    """The name, then the other ways to read it."""
    slashes = name.replace("\\", "/")
    decoded = unquote(slashes)
    found = [name, slashes, decoded]
    found += [unicodedata.normalize(form, text) for form in ("NFC", "NFD") for text in (slashes, decoded)]
    return [text for text in dict.fromkeys(found) if "\0" not in text]


def find(name: str, folder: Path, root: Path | None = None) -> str | None:
    """Path of the file that `name` means, relative to `folder`, or None where there is none inside the folder."""
    if not leaves(name) and is_file(folder / name):
        return name
    top = os.path.abspath(folder)
    for form in forms(name):
        for base in (folder, root):
            if base is None:
                continue
            path = os.path.normpath(os.path.join(os.path.abspath(base), form))
            if path.startswith(top + os.sep) and is_file(Path(path)):
                return PurePosixPath(os.path.relpath(path, top)).as_posix()
    return None


def leaves(name: str) -> bool:
    """Whether a name leaves the folder that it is read in."""
    return Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name


def is_file(path: Path) -> bool:
    """Whether there is a file; False where the name is too long or a link leads to itself."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
