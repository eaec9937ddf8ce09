"""Detections that are written image by image and go on after a kill."""

import json

import pytest

from parity.errors import UserError
from parity.train.partial import Partial

SECONDS = {"preprocess": 0.1, "forward": 0.2, "postprocess": 0.3}


def found(image: int, count: int) -> list[dict]:
    return [{"image_id": image, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": i / 10} for i in range(count)]


def fill(path, key: dict, counts: dict[int, int]) -> Partial:
    partial = Partial(path, key)
    for image, count in counts.items():
        partial.add(image, found(image, count), SECONDS)
    return partial


def test_the_result_is_one_list_and_one_line_of_times_per_image(tmp_path):
    fill(tmp_path / "d.json", {"a": 1}, {3: 2, 5: 0, 9: 1}).finish()
    assert json.loads((tmp_path / "d.json").read_text()) == found(3, 2) + found(9, 1)
    times = [json.loads(line) for line in (tmp_path / "d.timing.jsonl").read_text().splitlines()]
    assert times == [{"image_id": image} | SECONDS for image in (3, 5, 9)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "d.timing.jsonl"]


def test_it_goes_on_where_it_was_killed_even_in_the_middle_of_a_line(tmp_path):
    whole = fill(tmp_path / "d.json", {"a": 1}, {3: 2, 5: 1})
    whole.handle.close()
    data = whole.path.read_bytes()
    for cut, done in ((len(data), {3, 5}), (len(data) - 1, {3}), (len(data) - 40, {3}), (10, set())):
        whole.path.write_bytes(data[:cut])
        again = Partial(tmp_path / "d.json", {"a": 1})
        assert again.done == done
        for image in sorted({3, 5, 9} - done):
            again.add(image, found(image, {3: 2, 5: 1}.get(image, 0)), SECONDS)
        again.finish()
        assert json.loads((tmp_path / "d.json").read_text()) == found(3, 2) + found(5, 1)


def test_other_weights_start_anew(tmp_path):
    fill(tmp_path / "d.json", {"weights": "a"}, {3: 2}).handle.close()
    assert Partial(tmp_path / "d.json", {"weights": "b"}).done == set()


def test_nothing_found_at_all_is_an_empty_list(tmp_path):
    fill(tmp_path / "d.json", {}, {}).finish()
    assert json.loads((tmp_path / "d.json").read_text()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*cannot be written"):
        Partial(tmp_path / "file" / "d.json", {})
