"""The TensorBoard event file of a run (`train.tensorboard`): what metrics.jsonl holds, and a picture per validation.

Every framework's run is written by this code, so names are the same:

    train/loss, train/<component>     of each step; the total that is minimised, and its parts
    train/grad_norm, train/clip       gradient norm before clipping, and the factor that clipping applied
    lr/group_<i>                      learning rate of each parameter group, in the order of run.json
    time/<part>                       seconds of a step: data, forward_backward, optimizer, step
    val/<metric>                      COCO metrics, 0 to 1, at the last step of their epoch
    val/detections                    a picture: validation images with their objects and what was detected
    epoch, epoch_time/<part>, memory/peak_mb

The axis is the optimiser step. A run that goes on after it was killed begins a new file. The events up to its
checkpoint are taken over, with their times, and the old file is removed. The new file then equals that of a run without
interruption.
"""

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parity.data.coco import Dataset
from parity.data.entries import ResultEntry
from parity.draw.sheet import Sheet
from parity.errors import UserError
from parity.events import packed, records
from parity.files import atomic

PREFIX = "events.out.tfevents."  # TensorBoard looks for the middle part
QUALITY = 90  # of the JPEG; a picture stays with the run for each of its validations
PICTURE = "val/detections"
EPOCH = "epoch"


class Board:
    """The event file of one run in `folder`. `step` and `epoch` are complete when it is opened.

    `dataset` are the validation images. Raises UserError when the file cannot be written, or one of the images that are
    drawn cannot be read.
    """

    def __init__(self, folder: Path, dataset: Dataset, step: int, epoch: int, say: Callable[[str], None]):
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        self.Event, self.Summary, self.step = Event, Summary, step
        self.sheet = Sheet(dataset, say)
        old = sorted(path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit())
        number = int(old[-1].name.removeprefix(PREFIX)) + 1 if old else 1
        self.path = folder / f"{PREFIX}{number:06d}"  # TensorBoard reads the files of a folder in the order of names
        with atomic(self.path) as temporary, open(temporary, "wb") as handle:
            handle.write(packed(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString()))
            for payload in self._kept(old[-1], step, epoch) if old else ():
                handle.write(packed(payload))
        for path in old:
            path.unlink()
        self.handle = self._do(lambda: open(self.path, "ab"))  # noqa: SIM115 (closed by close)

    def _kept(self, path: Path, step: int, epoch: int) -> Iterator[bytes]:
        """Events of an earlier file that come before the checkpoint. A picture goes with the epoch before it."""
        keep = False
        for payload in records(path):
            event = self.Event.FromString(payload)
            values = {value.tag: value.simple_value for value in event.summary.value}
            if EPOCH in values:
                keep = values[EPOCH] <= epoch and step > 0
            elif PICTURE not in values:
                keep = bool(values) and event.step <= step
            if keep:
                yield payload

    def line(self, line: Mapping[str, Any]) -> None:
        """Write the values of a line of metrics.jsonl; those of an epoch belong to the step before it."""
        if line["kind"] == "step":
            self.step = line["step"]
            self._scalars(step_scalars(line))
        else:
            self._scalars(epoch_scalars(line))

    def detections(self, found: Sequence[ResultEntry]) -> None:
        """Write the picture of a validation, just after its epoch's line; `found` are COCO results."""
        picture, file = self.sheet.picture(found), io.BytesIO()
        picture.save(file, format="JPEG", quality=QUALITY)
        about = {"width": picture.width, "height": picture.height, "colorspace": 3}
        image = self.Summary.Image(encoded_image_string=file.getvalue(), **about)
        self._write([self.Summary.Value(tag=PICTURE, image=image)])

    def _scalars(self, scalars: Mapping[str, float]) -> None:
        self._write([self.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])

    def _write(self, values: list) -> None:
        event = self.Event(wall_time=time.time(), step=self.step, summary=self.Summary(value=values))
        self._do(lambda: self.handle.write(packed(event.SerializeToString())))
        self._do(self.handle.flush)

    def sync(self) -> None:
        """Write every event to the disk."""
        self._do(lambda: os.fsync(self.handle.fileno()))

    def close(self) -> None:
        self._do(self.handle.close)

    def _do(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def step_scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Tag -> value of a step's line."""
    scalars = {"train/loss": line["total"]}
    scalars |= {f"train/{name}": value for name, value in line["losses"].items()}
    scalars |= {"train/grad_norm": line["grad_norm"], "train/clip": line["clip"]}
    scalars |= {f"lr/group_{place}": rate for place, rate in enumerate(line["lr"])}
    return scalars | {f"time/{part}": seconds for part, seconds in line["seconds"].items()}


def epoch_scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Tag -> value of an epoch's line. A metric that is undefined, as AP of small objects where there are none, is left
    out."""
    scalars: dict[str, float] = {EPOCH: line["epoch"]}
    metrics = line["metrics"] or {}
    scalars |= {f"val/{name}": value for name, value in metrics.items() if value is not None and math.isfinite(value)}
    scalars |= {f"epoch_time/{part}": seconds for part, seconds in line["seconds"].items()}
    return scalars | {"memory/peak_mb": line["peak_memory_mb"]}
