"""Detections that are written image by image and go on after a kill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from parity.errors import UserError
from parity.train.partial import Partial

ROOT = Path(__file__).resolve().parents[3]
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


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    """A workflow that is killed may leave its prediction at work; the next one must not write into the same file."""
    code = "import sys, time; from parity.train.partial import Partial; kept = Partial(sys.argv[1], {});"
    code += " print('at work', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path / "d.json"], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"at work\n"
        with pytest.raises(
            UserError, match=r"d.json.part.jsonl: another process writes into it; wait for it or stop it"
        ):
            Partial(tmp_path / "d.json", {})
    finally:
        other.kill()
        other.wait()
    assert Partial(tmp_path / "d.json", {}).done == set()


def test_a_lost_line_is_told_and_no_result_is_written(tmp_path):
    partial = fill(tmp_path / "d.json", {}, {3: 2, 5: 1, 9: 1})
    lines = partial.path.read_bytes().split(b"\n")
    partial.path.write_bytes(b"\n".join([*lines[:2], b'{"image_id": 5, {"image_id"', *lines[3:]]))
    with pytest.raises(
        UserError, match=r"d.json.part.jsonl: holds 1 whole images, expected 3; delete it and begin anew"
    ):
        partial.finish()
    assert not (tmp_path / "d.json").exists()
