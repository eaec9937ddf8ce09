"""The sources that `detect` can read: image files, folders, patterns, videos and cameras, as upright RGB images."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from parity.data.loader import decode
from parity.errors import UserError

IMAGES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".mpo")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
ORIENTATION = 0x0112  # EXIF: how a viewer turns the picture
# EXIF orientation -> (turns of 90 degrees against the clock, mirrored left to right afterwards)
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@dataclass
class Found:
    """The files of the sources, in the order given: image files, videos or cameras; `missing` holds (name, reason)."""

    images: list[Path]
    videos: list[str]
    missing: list[tuple[str, str]]


def find(sources: Sequence[str]) -> Found:
    """Resolve files, folders, patterns, videos and camera numbers.

    A folder stands for the images in it, those in subfolders included. Hidden files are left out. Raises UserError when
    nothing at all is found.
    """
    found = Found([], [], [])
    for source in sources:
        path = Path(source).expanduser()
        if source.isdigit() and not path.exists():
            found.videos.append(source)
        elif path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _usable(file))
            found.images += inside
            if not inside:
                found.missing.append((source, f"holds no image, expected files ending in {', '.join(IMAGES)}"))
        elif path.is_file():
            _add(path, found)
        elif glob.has_magic(source):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            for match in matches:
                if match.is_file():
                    _add(match, found)
            if not matches:
                found.missing.append((source, "no file fits this pattern"))
        else:
            found.missing.append((source, "is not there"))
    found.images = list(dict.fromkeys(found.images))
    if not found.images and not found.videos:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in found.missing) or "no source was given")
    return found


def _usable(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() in IMAGES and not file.name.startswith(".")


def _add(path: Path, found: Found) -> None:
    if path.suffix.lower() in VIDEOS:
        found.videos.append(str(path))
    else:
        found.images.append(path)


def read_upright(path: Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3] RGB, turned the way its EXIF orientation says. Raises UserError."""
    image = decode(path)
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):  # the pixels were read; damaged EXIF turns nothing
        orientation = 1
    return turned(image, orientation)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, 3] turned as the EXIF value `orientation` (1 to 8) says; an unknown value turns nothing."""
    turns, mirrored = TURNS.get(orientation, (0, False))
    image = np.rot90(image, turns)
    return np.ascontiguousarray(image[:, ::-1] if mirrored else image)


def opencv(source: str) -> ModuleType:
    """The OpenCV module, which reads videos and cameras. Raises UserError where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"{source}: videos and cameras are read with OpenCV, which is not installed in this environment"
            " (pip install opencv-python-headless==4.11.0.86)"
        ) from error
    return cv2


def open_video(source: str) -> tuple[object, float]:
    """(capture, frames per second) of a video file or a camera number. Raises UserError when it cannot be opened."""
    cv2 = opencv(source)
    capture = cv2.VideoCapture(int(source) if source.isdigit() else os.fspath(source))
    if not capture.isOpened():
        raise UserError(f"{source}: OpenCV cannot open this {'camera' if source.isdigit() else 'video'}")
    return capture, capture.get(cv2.CAP_PROP_FPS) or 25.0


def frames(capture: object) -> Iterator[np.ndarray]:
    """The frames of an open video as uint8 [H, W, 3] RGB, until it ends."""
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        capture.release()
