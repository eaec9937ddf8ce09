"""YOLO's label files: their places, the content of a line, and the problems that only all files together show.

A line holds a class index and a box (centre x, centre y, width, height as parts of the image's sides), or the corners
of a polygon, whose bounding box is taken, or, where `kpt_shape` of data.yaml says so, a box and keypoints behind it.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from parity.data import names
from parity.data.check import MOST_DROPPED, Report
from parity.data.forms import other_form
from parity.data.freshness import Sources
from parity.errors import UserError
from parity.files import read_lines

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ROUNDING = 1e-6  # a coordinate may pass 0 or 1 by this much without a note; more, up to a pixel, is noted and clipped
POSES = 3  # with fewer lines a layout of keypoints is not believed
SLACK = 0.05  # share of the box's sides by which a keypoint may lie outside its box


@dataclass(frozen=True)
class Label:
    """One object: class index, corners in parts of the image, the line's numbers, and whether it passed the image."""

    index: int
    corners: list[float]
    values: tuple[float, ...]
    line: int
    beyond: bool


def keypoints(about: dict[str, Any], file: Path) -> tuple[int, int] | None:
    """`kpt_shape` of data.yaml: how many keypoints, and how many numbers each; None where it is not set."""
    shape = about.get("kpt_shape")
    if shape is None:
        return None
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(isinstance(n, int) and n > 0 for n in shape)
        or shape[1] not in (2, 3)
    ):
        raise UserError(f"{file}: kpt_shape is {shape!r}, expected [number of keypoints, 2 or 3]")
    return shape[0], shape[1]


def label_file(image: str) -> str:
    """Path of the labels of an image, both relative to the dataset's folder."""
    path = PurePosixPath(image)
    parts = list(path.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return PurePosixPath(*parts).with_suffix(".txt").as_posix()


def read_labels(path: Path, classes: int, size: tuple[int, int], points: tuple[int, int] | None = None) -> list[Label]:
    """Every object of a label file; a line that stands twice counts once. `size` is (width, height) of the image."""
    objects: dict[tuple, Label] = {}
    for position, line in enumerate(read_lines(path), 1):
        where, words = f"{path}: line {position}", line.split()
        try:
            numbers = [float(word) for word in words]
        except ValueError as error:
            raise UserError(f"{where}: {line.strip()!r}, expected numbers") from error
        index, values = numbers[0], _coordinates(numbers, points, where)
        if index % 1 or not 0 <= index < classes:
            raise UserError(f"{where}: class {words[0]} is not among the {classes} names (0 to {classes - 1})")
        limits = [1 / size[axis % 2] for axis in range(len(values))]
        if not all(math.isfinite(v) and -slack <= v <= 1 + slack for v, slack in zip(values, limits, strict=True)):
            shown = " ".join(words[1 : 1 + len(values)])
            hint = "" if points else _pose_hint(numbers[1:])
            raise UserError(f"{where}: {shown} are not parts of the image, expected numbers from 0 to 1{hint}")
        beyond = not all(-ROUNDING <= v <= 1 + ROUNDING for v in values)
        if len(values) == 4:
            x, y, w, h = values
            if w < 0 or h < 0:
                raise UserError(f"{where}: {' '.join(words[1:5])} have a negative width or height")
            corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        else:
            corners = [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
        if beyond:
            corners = [min(max(v, 0.0), 1.0) for v in corners]
        objects[tuple(numbers)] = Label(int(index), corners, tuple(numbers[1:]), position, beyond)
    return list(objects.values())


def _coordinates(numbers: list[float], points: tuple[int, int] | None, where: str) -> list[float]:
    """The numbers of a line that say where the object is."""
    count = len(numbers)
    if points:
        expected = 5 + points[0] * points[1]
        if count not in (5, expected):
            raise UserError(
                f"{where}: has {count} numbers, expected {expected}: a class, a box of four,"
                f" and {points[0]} keypoints of {points[1]} (kpt_shape)"
            )
        return numbers[1:5]
    if count != 5 and (count < 7 or count % 2 == 0):
        hint = _pose_hint(numbers[1:])
        raise UserError(f"{where}: has {count} numbers, expected a class and a box of four, or a polygon{hint}")
    return numbers[1:]


def _pose_hint(values: Sequence[float]) -> str:
    step = _pose_step([tuple(values)])
    return f"; {_poses(len(values), step)}" if step else ""


def _poses(count: int, step: int) -> str:
    number = (count - 4) // step
    return f"they look like boxes with {number} keypoints, then data.yaml needs kpt_shape: [{number}, {step}]"


def _pose_step(lines: Sequence[tuple[float, ...]]) -> int | None:
    """2 or 3 where every line is a box with that many numbers for each keypoint in or near it, else None."""
    count = len(lines[0])
    for step in (2, 3):
        if count > 4 and (count - 4) % step == 0 and all(_is_pose(values, count, step) for values in lines):
            return step
    return None


def _is_pose(values: tuple[float, ...], count: int, step: int) -> bool:
    if len(values) != count:
        return False
    x, y, w, h = values[:4]
    found = np.asarray(values[4:], np.float64).reshape(-1, step)
    if step == 3 and not np.isin(found[:, 2], (0, 1, 2)).all():
        return False
    shown = found[(found[:, :2] != 0).any(axis=1)]  # 0 0 is a keypoint that was not marked
    away = np.abs(shown[:, :2] - (x, y))
    return len(shown) > 0 and bool((away <= np.asarray([w, h]) * (0.5 + SLACK)).all())


def judge(labels: Sequence[tuple[Label, tuple[int, int]]], points: tuple[int, int] | None) -> tuple[str, str] | None:
    """(kind, message) of what is wrong with all lines together, or None. `labels` come with the size of their image."""
    longer = [label.values for label, _ in labels if len(label.values) > 4]
    if longer and not points and len(longer) >= POSES and (step := _pose_step(longer)):
        return (
            "keypoints",
            f"all {len(longer)} lines of more than five numbers are alike; {_poses(len(longer[0]), step)}",
        )
    boxes = [(label.values[:4], size) for label, size in labels if len(label.values) == 4 or points]
    values = [[v * size[axis % 2] for axis, v in enumerate(box)] for box, size in boxes]
    wrong = other_form(np.asarray(values), np.asarray([size for _, size in boxes]), "centre")
    return ("form of boxes", f"in pixels, {wrong}") if wrong else None


class Folder:
    """The label files of one folder, and the images that they may belong to."""

    def __init__(self, root: Path, labels: str, images: str, sources: Sources):
        self.root, self.labels = root, labels
        sources.folder(root / labels, (".txt",))
        stems = {PurePosixPath(name).stem for name in _names(root / images) if name.lower().endswith(SUFFIXES)}
        self.files = {name[: -len(".txt")] for name in _names(root / labels) if name.lower().endswith(".txt")}
        self.others: dict[str, str] = {}  # stem of an image without labels of its own -> stem of its label file
        self.without: list[str] = []
        for stem in sorted(self.files - stems):
            meant = next((form for form in _readings(stem) if form in stems and form not in self.files), None)
            if meant is None:
                self.without.append(stem)
            else:
                self.others[meant] = stem

    def of(self, image: str) -> str | None:
        """The label file of an image, relative to the root, or None."""
        stem = PurePosixPath(image).stem
        found = stem if stem in self.files else self.others.get(stem)
        return None if found is None else (PurePosixPath(self.labels) / f"{found}.txt").as_posix()

    def report(self, split: str, report: Report) -> None:
        """Say which label files belong to no image; stop where most do not."""
        lost = [stem for stem in self.without if _holds_labels(self.root / self.labels / f"{stem}.txt")]
        for stem in lost:
            path = self.root / self.labels / f"{stem}.txt"
            report.add("labels without image", split, path, "", "this label file belongs to no image")
        if len(lost) > MOST_DROPPED * len(self.files):
            message = f"{len(lost)} of {len(self.files)} label files belong to no image; the first is {lost[0]}.txt"
            report.add("too many drops", split, self.root / self.labels, "labels", message)


def _names(folder: Path) -> list[str]:
    try:
        return [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except OSError:
        return []


def _readings(stem: str) -> list[str]:
    """Stems of images that a label file of another name may mean."""
    found = names.forms(stem)
    return found + [form.rpartition(".")[0] for form in found if form.lower().endswith(SUFFIXES)]


def _holds_labels(path: Path) -> bool:
    """Whether a text file begins like labels do: lists of classes and notes lie there too."""
    try:
        words = next(iter(read_lines(path)), "").split()
        return len(words) >= 5 and all(math.isfinite(float(word)) for word in words[:5])
    except (UserError, ValueError):
        return False
