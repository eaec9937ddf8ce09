"""Files, folders and patterns; images turned upright; videos without OpenCV."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from parity.detect import sources
from parity.detect.sources import find, read_upright, turned
from parity.errors import UserError


def picture(path, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3) * 5)
    exif = Image.Exif()
    if orientation:
        exif[sources.ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_shows(tmp_path, orientation):
    path = picture(tmp_path / "a.png", orientation)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(read_upright(path), expected)


def test_an_unknown_orientation_turns_nothing():
    image = np.zeros((2, 3, 3), np.uint8)
    assert turned(image, 99).shape == (2, 3, 3)


def test_a_folder_a_file_and_a_pattern(tmp_path):
    one, two = picture(tmp_path / "in/b.png"), picture(tmp_path / "in/deeper/a.JPG".replace("JPG", "jpg"))
    picture(tmp_path / "in/._b.png")
    (tmp_path / "in/notes.txt").write_text("no image")
    (tmp_path / "clip.mp4").write_bytes(b"")
    found = find([str(tmp_path / "in"), str(one), str(tmp_path / "*.mp4"), str(tmp_path / "*.gif"), "nowhere.png"])
    assert found.images == [one, two] and found.videos == [str(tmp_path / "clip.mp4")]
    assert [reason for _, reason in found.missing] == ["no file fits this pattern", "is not there"]


def test_nothing_at_all_is_refused_with_every_reason(tmp_path):
    with pytest.raises(UserError, match=r"holds no image.*x\.png: is not there"):
        find([str(tmp_path), "x.png"])


def test_a_video_without_opencv_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"clip\.mp4: videos and cameras are read with OpenCV, which is not installed"):
        sources.open_video("clip.mp4")
