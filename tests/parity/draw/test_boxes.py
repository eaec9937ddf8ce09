"""What is drawn: boxes and labels inside the picture, a colour per class, names in a font that has their glyphs."""

import numpy as np
import pytest
from PIL import ImageFont

from parity.draw.boxes import beside, colour, draw
from parity.draw.fonts import font_for, has_glyphs

GREY = np.full((60, 80, 3), 128, np.uint8)
FONT = ImageFont.load_default(12)


def entry(category, box, score=0.9):
    return {"category_id": category, "bbox": box, "score": score}


def test_a_box_is_drawn_where_it_is_and_in_the_colour_of_its_class():
    pixels = np.asarray(draw(GREY, [entry(7, [10, 30, 40, 20])], {3: "cat", 7: "dog"}, FONT))
    assert tuple(pixels[50, 30]) == colour(1) and tuple(pixels[40, 10]) == colour(1)
    assert (pixels[45, 30] == 128).all()


@pytest.mark.parametrize("box", [[-20, -20, 30, 30], [70, 50, 40, 40], [0, 0, 80, 60], [79, 0, 1, 1]])
def test_labels_stay_inside_the_picture(box):
    picture = draw(GREY, [entry(1, box)], {1: "person"}, FONT)
    assert picture.size == (80, 60)
    assert (np.abs(np.asarray(picture).astype(int) - 128).sum(axis=2) > 60).sum() > 100


def test_neighbouring_classes_have_colours_apart():
    colours = np.array([colour(i) for i in range(80)])
    assert len({tuple(c) for c in colours}) == 80
    assert np.abs(np.diff(colours[:20], axis=0)).sum(axis=1).min() > 60


def test_two_pictures_side_by_side():
    one, two = (draw(GREY, [], {}, FONT, title) for title in ("torch", "jittor"))
    assert beside([one, two]).size == (160, 60) and beside([one, two], 4).getpixel((82, 30)) == (255, 255, 255)


def test_latin_names_need_no_installed_font():
    font, complaint = font_for(["person", "traffic light"], 14, ())
    assert complaint == "" and has_glyphs(font, "person")


def test_names_without_a_font_are_said_in_one_line():
    font, complaint = font_for(["person", "行人"], 14, ())
    assert "no installed font has the glyphs of" in complaint and "人" in complaint
    assert not has_glyphs(font, "人")
