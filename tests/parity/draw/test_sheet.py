"""The sheet of validation images: which are shown, and where their boxes are."""

import numpy as np
import pytest
from small_run import make_dataset

from parity.data.coco import open_split
from parity.draw.boxes import colour
from parity.draw.sheet import Sheet, evenly


@pytest.mark.parametrize(("count", "places"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (12, list(range(10)))])
def test_items_are_evenly_spaced(count, places):
    assert evenly(range(10), count) == places and evenly([], count) == []


def test_objects_are_on_the_left_and_the_best_detections_on_the_right(tmp_path):
    dataset = open_split(make_dataset(tmp_path), "val")
    said = []
    sheet = Sheet(dataset, said.append, images=2)
    found = [{"image_id": 101, "category_id": 1, "bbox": [4.0, 8.0, 16.0, 16.0], "score": s} for s in (0.2, 0.9)]
    found[0]["bbox"] = [30.0, 2.0, 4.0, 4.0]  # the lower score: one object, so it is not shown
    pixels = np.asarray(sheet.picture(found))
    assert pixels.shape == (256 + 4 + 256, 320 + 4 + 320, 3) and said == []
    truth, detection = colour(1), colour(0)  # image 101 holds an "odd" square, at 7, 4, 20 x 16
    assert tuple(pixels[4 * 8 + 80, 7 * 8]) == truth and tuple(pixels[8 * 8 + 80, 324 + 4 * 8]) == detection
    assert not (pixels[:256, 324 + 28 * 8 : 324 + 36 * 8] == detection).all(axis=2).any()
    assert not (pixels[260:, 324:] == detection).all(axis=2).any()  # nothing was detected on the second image


def test_names_that_no_font_can_write_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("parity.draw.sheet.font_for", lambda names, size: (None, f"no font for {sorted(names)}"))
    said = []
    Sheet(open_split(make_dataset(tmp_path), "val"), said.append)
    assert said == ["no font for ['even', 'odd']"]
