"""Results of checking image files, stored beside a dataset. Another subset of the same source reuses them.

A result is reused when four things are unchanged: the file's path, its size, its time of change, and the code of the
checks. The annotated image size must be equal too. Results are stored for images that the dataset links to; images that
were written for the dataset are checked again.
"""

from pathlib import Path
from typing import Any

from parity.data.coco import ImageRecord
from parity.errors import UserError
from parity.files import digest, file_sha256, read_json, write_json

NAME = ".looks.json"


Look = dict[str, Any]  # what was found in one image file, by the name of the check


class Looks:
    """Stored results of checks, in the dataset folder `root` and in the datasets beside it.

    `rules` are the files whose code decides the result of a check.
    """

    def __init__(self, root: Path, rules: list[Path]):
        self.root, self.rules = root, digest([file_sha256(path) for path in rules])
        self.known: dict[str, Look] = {}
        self.kept: dict[str, Look] = {}
        for path in sorted(root.parent.glob(f"*/{NAME}")):
            self.known |= self._read(path)

    def _read(self, path: Path) -> dict[str, Look]:
        try:
            content = read_json(path)
        except UserError:  # a stored result only saves time; without it the image is checked
            return {}
        if not isinstance(content, dict) or content.get("rules") != self.rules:
            return {}
        return content["looks"]

    def get(self, record: ImageRecord) -> Look | None:
        """The result that `put` stored for this file, or None."""
        key = self._key(record)
        if key in self.known:
            self.kept[key] = self.known[key]
        return self.known.get(key)

    def put(self, record: ImageRecord, look: Look) -> None:
        """Keep the result of a check; JSON must be able to hold it."""
        key = self._key(record)
        if key is not None:
            self.kept[key] = look

    def save(self) -> None:
        """Write the results for the images of this dataset, if there are any."""
        if self.kept:
            write_json(self.root / NAME, {"rules": self.rules, "looks": self.kept}, indent=None)

    @staticmethod
    def _key(record: ImageRecord) -> str | None:
        if not record.path.is_symlink():
            return None
        path = record.path.resolve()
        try:
            about = path.stat()
        except OSError:
            return None
        return f"{path} {about.st_size} {about.st_mtime_ns} {record.width}x{record.height}"
