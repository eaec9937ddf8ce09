import numpy as np
import pytest
from PIL import Image

from parity.data import augment
from parity.data.chains import make_augment
from parity.data.plan import generator
from parity.errors import UserError


class Script:
    """A generator that answers with what it was told, in order, to pin a path through the code."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def _next(self, *_):
        return self.answers.pop(0)

    def uniform(self, *_):
        return self._next()

    random = integers = permutation = uniform


def sample(height=40, width=60):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes = np.array([[5, 5, 25, 30], [30, 10, 58, 38]], np.float32)
    return image, boxes, np.array([3, 1])


def test_same_key_same_result_and_nothing_shared():
    chain = make_augment({"photometric": 0.5, "zoom_out": 0.5, "iou_crop": 0.8, "flip": 0.5, "min_box": 1})
    image, boxes, labels = sample()
    before = image.copy(), boxes.copy(), labels.copy()
    seen = set()
    for key in range(20):
        first, second = (chain((image, boxes, labels), generator(1, key)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        seen.add(first[0].tobytes())
    assert len(seen) > 15
    assert all(np.array_equal(a, b) for a, b in zip(before, (image, boxes, labels), strict=True))


def test_what_is_off_draws_nothing():
    """Turning one step off must not change which images the others flip."""
    chain = make_augment({"flip": 0.5})
    assert chain(sample(), Script(0.4))[1][0].tolist() == [35, 5, 55, 30]
    assert chain(sample(), Script(0.5))[1][0].tolist() == [5, 5, 25, 30]
    assert make_augment({}) is None and make_augment(None) is None


def test_flip_mirrors_image_and_boxes():
    image, boxes, _ = sample()
    flipped, moved = augment.horizontal_flip(image, boxes)
    np.testing.assert_array_equal(flipped[:, 0], image[:, -1])
    np.testing.assert_array_equal(moved, [[35, 5, 55, 30], [2, 10, 30, 38]])
    again, back = augment.horizontal_flip(flipped, moved)
    assert np.array_equal(again, image) and np.array_equal(back, boxes)


def test_zoom_out_moves_boxes_with_the_image():
    image, boxes, _ = sample()
    canvas, moved = augment.zoom_out(image, boxes, Script(2.55, np.array([0.5, 0.25])))
    assert canvas.shape == (102, 153, 3)  # int(40 * 2.55), int(60 * 2.55)
    left, top = 46, 15  # int(93 * 0.5), int(62 * 0.25)
    np.testing.assert_array_equal(canvas[top : top + 40, left : left + 60], image)
    assert canvas.sum(dtype=np.int64) == image.sum(dtype=np.int64)
    np.testing.assert_array_equal(moved - boxes, [[left, top, left, top]] * 2)


def test_iou_crop_keeps_centres_clips_boxes_and_shifts():
    image, boxes, labels = sample()
    # overlap option 0 (0.0); scales 0.5 and 0.75: window 30 x 30 at left int(30 * 0.5) = 15, top int(10 * 0.5) = 5
    rng = Script(0, np.array([0.5, 0.75]), np.array([0.5, 0.5]))
    cropped, kept, remaining = augment.iou_crop(image, boxes, labels, rng)
    np.testing.assert_array_equal(cropped, image[5:35, 15:45])
    np.testing.assert_array_equal(kept, [[15, 5, 30, 30]])  # centre (44, 24) is in, the first box's (15, 17.5) is not
    np.testing.assert_array_equal(remaining, [1])


def test_iou_crop_demands_the_overlap():
    """0.9 with a window that overlaps one box by about a half: the trial fails, then "leave it" is drawn."""
    image, boxes, labels = sample()
    trial = [np.array([0.5, 0.75]), np.array([0.5, 0.5])]
    rng = Script(5, *trial * augment.CROP_TRIALS, 6)
    same, kept, _ = augment.iou_crop(image, boxes, labels, rng)
    assert same is image and len(kept) == 2 and rng.answers == []


def test_iou_crop_ends_without_boxes_and_on_tiny_images():
    for height, width in ((40, 60), (1, 1), (2, 3)):
        image = np.zeros((height, width, 3), np.uint8)
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        same, _, _ = augment.iou_crop(image, *nothing, generator(height, width))
        assert same is image


def test_iou_crop_windows_have_the_allowed_shape():
    rng, shapes = generator(3), []
    for _ in range(500):
        window = augment._crop_window(200, 100, rng)
        if window is not None:
            left, top, right, bottom = window
            assert 0 <= left < right <= 200 and 0 <= top < bottom <= 100
            shapes.append(((right - left) / 200, (bottom - top) / 100, (right - left) / (bottom - top)))
    shapes = np.array(shapes)
    assert len(shapes) > 100 and shapes[:, :2].min() >= 0.29 and shapes[:, 2].min() >= 0.5 and shapes[:, 2].max() <= 2


def test_sanitize_drops_small_and_outside():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.9, 5], [1, 1, 61, 5], [-1, 0, 5, 5], [2, 2, 60, 40]], np.float32)
    kept, labels = augment.sanitize(boxes, np.arange(5), (40, 60), 1)
    np.testing.assert_array_equal(labels, [0, 4])
    assert kept.shape == (2, 4)


def test_hue_turns_the_circle_and_wraps():
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    for shift, expected in ((0.05, 12), (-0.05, 244), (0.001, 0)):
        hue = np.asarray(augment._shift_hue(red, shift).convert("HSV"))[0, 0, 0]
        assert abs(int(hue) - expected) <= 1
    pixel = np.asarray(augment._shift_hue(red, -0.05))[0, 0]
    assert pixel[2] > 0 and pixel[1] == 0  # towards blue, not towards green


def test_photometric_order_and_permutation():
    image = sample()[0]
    nothing = augment.photometric_distort(image, Script(0.9, 0.9, 0.9, 0.9, 0.9, 0.9), 0.5)
    np.testing.assert_array_equal(nothing, image)
    swapped = augment.photometric_distort(image, Script(0.9, 0.9, 0.9, 0.9, 0.9, 0.1, np.array([2, 0, 1])), 0.5)
    np.testing.assert_array_equal(swapped, image[:, :, [2, 0, 1]])
    bright = augment.photometric_distort(image, Script(0.1, 1.125, 0.9, 0.9, 0.9, 0.9, 0.9), 0.5)
    assert abs(bright.astype(float) - (image * 1.125).clip(0, 255)).max() <= 1
    # contrast and saturation both on; the coin decides which comes first
    first = augment.photometric_distort(image, Script(0.9, 0.1, 1.5, 0.1, 0.5, 0.9, 0.1, 0.9), 0.5)
    last = augment.photometric_distort(image, Script(0.9, 0.1, 1.5, 0.1, 0.5, 0.9, 0.9, 0.9), 0.5)
    assert not np.array_equal(first, last)


@pytest.mark.parametrize(("key", "value"), [("flip", 1.5), ("rotate", 0.5), ("zoom_out", True), ("min_box", -1)])
def test_bad_settings_are_named(key, value):
    with pytest.raises(UserError, match=f"train.augment.{key}"):
        make_augment({key: value})
