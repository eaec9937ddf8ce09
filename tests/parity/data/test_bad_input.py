"""Bad input, item by item: what is reported, in one line, and what becomes of the data."""

import json

import pytest
from bad_input import CASES, GOOD, PAGE, SIZE, page, settings

from parity.data.build import build
from parity.data.check import KINDS
from parity.data.coco import open_split
from parity.data.loader import decode
from parity.errors import UserError

OF_VAL = {"near duplicate in val", "classes contradict", "classes numbered apart", "classes of one split"}
NAMES = [f"{case.source}: {case.what}" for case in CASES]


@pytest.fixture
def made(tmp_path):
    """Spoil the source of a case and build it: the problems, the dataset folder, and the refusal or ""."""

    def make(case):
        root, out, refusal = tmp_path / "source", tmp_path / "out", ""
        GOOD[case.source](root)
        case.spoil(root)
        try:
            build(settings(case.source, root), out)
        except UserError as error:
            refusal = str(error)
        report = out / "check.json"
        return json.loads(report.read_text())["problems"] if report.exists() else [], out, refusal

    return make


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_item_is_said_in_one_line_and_has_its_effect(made, case):
    problems, out, refusal = made(case)
    effect = KINDS[case.kind][0] if case.kind in KINDS else {None: "nothing", "error": "stop"}[case.kind]
    if effect == "stop":
        assert refusal and "\n" not in refusal and str(out.parent / "source") in refusal
        assert not (out / "manifest.json").exists()
    else:
        assert not refusal
        left = open_split(out, "train")
        boxes = json.loads((out / "annotations/train.json").read_text())["annotations"]
        assert (len(left), len(boxes)) == (case.images, case.boxes)
        assert len({box["id"] for box in boxes}) == case.boxes
        assert {path.name for path in (out / "images/train").rglob("*.*")} == {
            record.path.name for record in left.images.values()
        }
        assert all(decode(record.path).shape == (SIZE[1], SIZE[0], 3) for record in left.images.values())
    if case.kind is None:
        assert {p["kind"] for p in problems} <= {"class without objects"}  # VOC has twenty classes
        assert bool(problems) != ("Found: no problem." in (out / "check.md").read_text())
    elif case.kind == "error":
        assert case.words in refusal
    else:
        found = next(p for p in problems if p["kind"] == case.kind and case.words in p["message"])
        assert found["split"] == ("val" if case.kind in OF_VAL else "train")
        assert found["file"] and found["effect"] == effect and "\n" not in found["message"]
        assert f"| {case.kind} |" in (out / "check.md").read_text()


def test_every_kind_of_problem_has_a_case():
    assert {case.kind for case in CASES} - {None, "error"} == set(KINDS)


def test_the_page_shows_what_really_is_said():
    assert PAGE.read_text() == page(), "make it again: python -m tests.parity.data.bad_input"
