"""Detections of an unfinished prediction, a line per image. A killed prediction goes on, and memory stays small.

`<out>.part.jsonl` begins with a key of what is predicted (weights, configuration, images). Lines of another key are
dropped. When every image has its line, `finish` writes COCO results and the timing lines, image by image.
"""

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity.errors import UserError
from parity.files import atomic, digest


class Partial:
    """The part of a prediction that is done. `done` holds the image ids; `add` appends one image."""

    def __init__(self, out: str | Path, key: dict[str, Any]):
        self.out = Path(out)
        self.path = self.out.with_name(f"{self.out.name}.part.jsonl")
        head = {"key": digest(key)}
        self.done: set[int] = set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.handle = open(self.path, "a+b")  # noqa: SIM115 (closed by finish)
            # The kernel drops the lock when its holder ends, however it ends. A killed workflow may leave one at work.
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            whole = 0
            for line, end in self._lines():
                if not whole and line != head:
                    break
                if whole:
                    self.done.add(line["image_id"])
                whole = end
            self.handle.truncate(whole)
            if not whole:
                self._write(head)
        except BlockingIOError as error:
            raise UserError(f"{self.path}: another process writes into it; wait for it or stop it") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.count = len(self.done)

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Whole lines with the place where each ends; a torn line and all lines after it are left out."""
        if not self.path.exists():
            return
        end = 0
        with open(self.path, "rb") as handle:
            for raw in handle:
                end += len(raw)
                try:
                    line = json.loads(raw) if raw.endswith(b"\n") else None
                except ValueError:
                    line = None
                if not isinstance(line, dict):
                    return
                yield line, end

    def _write(self, line: dict[str, Any]) -> None:
        self.handle.write(json.dumps(line).encode() + b"\n")
        self.handle.flush()

    def add(self, image_id: int, detections: list[dict[str, Any]], seconds: dict[str, float]) -> None:
        """Keep the COCO results of one image and how long its stages took, in seconds."""
        self.count += 1
        try:
            self._write({"image_id": image_id, "seconds": seconds, "detections": detections})
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def finish(self) -> None:
        """Write `out` and `<name>.timing.jsonl` beside it, then remove the partial file.

        Raises UserError where lines were lost, so that no image is left out in silence.
        """
        kept = sum("image_id" in line for line, _ in self._lines())
        if kept != self.count:
            raise UserError(f"{self.path}: holds {kept} whole images, expected {self.count}; delete it and begin anew")
        self.handle.close()
        timing = self.out.with_name(f"{self.out.stem}.timing.jsonl")
        with atomic(self.out) as results, atomic(timing) as times, open(results, "w") as a, open(times, "w") as b:
            first = True
            a.write("[")
            for line, _ in self._lines():
                if "image_id" not in line:
                    continue
                for detection in line["detections"]:
                    a.write(("" if first else ", ") + json.dumps(detection))
                    first = False
                b.write(json.dumps({"image_id": line["image_id"]} | line["seconds"]) + "\n")
            a.write("]\n")
        self.path.unlink()
