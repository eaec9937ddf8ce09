"""Two frameworks' detections side by side: pictures that name their halves, and what differs."""

import json

import detect
import numpy as np
from PIL import Image


def written(folder, shade: int, score: float) -> None:
    """What the verb `detect` leaves: a picture of one colour, its entry, and one detection."""
    folder.mkdir()
    Image.new("RGB", (120, 90), (shade, shade, shade)).save(folder / "a.png")
    about = {"images": [{"file_name": "photos/a.jpg", "drawn": str(folder / "a.png")}]}
    (folder / "images.json").write_text(json.dumps(about))
    found = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 30], "score": score}]
    (folder / "detections.json").write_text(json.dumps(found))


def test_each_half_of_a_picture_is_named(tmp_path):
    written(tmp_path / "torch", 128, 0.9)
    written(tmp_path / "jittor", 200, 0.91)
    line = detect.side_by_side(tmp_path, "torch", "jittor")
    assert line.startswith("1 images: 1 detections in both") and "score 0.01" in line
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels.shape == (90, 240, 3)
    halves = pixels[:, :120], pixels[:, 120:]
    assert (halves[0][0] == 128).all() and (halves[1][0] == 200).all()
    titles = [half[-16:, :60] for half in halves]
    assert all((title == 32).any() and (title > 230).any() for title in titles)  # white letters on a dark box
    assert (halves[0][-16:] == 128).sum() > (halves[1][-16:] == 200).sum()  # "jittor" is longer than "torch"
    assert json.loads((tmp_path / "difference.json").read_text())["matched"] == 1
