"""What the top of a report says: what is settled first, each with its count."""

import json

import fake_results
import pytest

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.report import headline, report
from parity.report.tables import make_all


def opening(path, language="en") -> str:
    comparison = load(path)
    findings = find(comparison, bootstrap_samples=100)
    text = report.render(comparison, findings, make_all(comparison, findings), language)
    return text[: text.index("\n## ")]


@pytest.mark.parametrize(
    ("language", "parts"),
    [
        (
            "en",
            ["**Same weights, same AP.**", "rungs of the ladder pass", "Compared: 40 modules", "**Comparable.**",
             "**Training step,",
             "**Peak memory while training:**", "**Not settled by this run:**", "- AP of free runs."],
        ),
        (
            "zh",
            ["**同一权重，AP 相同。**",
             "对齐阶梯 3 级中 1 级通过", "已比较：模块 40 个", "**可比。**",
             "**训练单步，", "**训练峰值内存：**",
             "**本次运行未能判定：**", "- 自由训练的 AP。"],
        ),
    ],
)  # fmt: skip
def test_what_is_settled_comes_first_and_what_is_open_last(tmp_path, language, parts):
    head = opening(fake_results.make(tmp_path, language=language, alignment=True), language)
    places = [head.index(part) for part in parts]
    assert places == sorted(places)
    assert "inconclusive" not in head and "无法判定" not in head
    assert "32 of 32 detections in 12 evaluated images" in head or "32 个检测结果里有 32 个" in head


def test_detections_of_one_framework_only_are_counted(tmp_path):
    path = fake_results.make(tmp_path)
    file = tmp_path / "fakedet/runs/torch/fake-s0/cross/jittor/detections.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps([{**found[0], "bbox": [80.0, 60.0, 3.0, 3.0]}, *found[1:]]))
    same = headline.same_weights(find(load(path), bootstrap_samples=100))
    assert (same["matched"], same["detections"]) == (31, 33)
    assert (same["whole"], same["images"]) == (11, 12)


def test_an_ap_that_differs_is_no_agreement(tmp_path):
    path = fake_results.make(tmp_path)
    file = tmp_path / "fakedet/runs/torch/fake-s0/cross/jittor/coco.json"
    found = json.loads(file.read_text())
    found["metrics"]["AP"] += 0.03
    file.write_text(json.dumps(found))
    assert "**Same weights, different AP.**" in opening(path)


def test_without_detections_nothing_is_counted_and_without_evaluations_nothing_is_claimed(tmp_path):
    path = fake_results.make(tmp_path, drop=("fakedet/runs/*/*/cross/*/detections.json",))
    assert "**Same weights, same AP.**" in opening(path) and "have a partner" not in opening(path)
    for file in tmp_path.glob("fakedet/runs/*/*/cross/*/coco.json"):
        file.unlink()
    assert "**Same weights: not evaluated by both frameworks.**" in opening(path)


def test_own_evaluation_on_the_images_of_the_comparison_wins(tmp_path):
    path = fake_results.make(tmp_path)
    index = json.loads(path.read_text())
    for run in index["runs"]:
        other = next(iter(run["cross"].values()))
        run["cross"][run["framework"]] = other  # the same evaluation by both: no difference at all
    path.write_text(json.dumps(index))
    checks = find(load(path), bootstrap_samples=100).same_weights
    assert len(checks) == 2
    assert all(check.difference == 0 and check.bootstrap.identical for check in checks)


def test_planted_faults_are_read_from_their_page_or_left_out(tmp_path):
    page = tmp_path / "faults.md"
    assert headline.faults(page) is None
    page.write_text("# Planted faults\n\nCaught with the cause named: 34 of 35. Controls: none.\n")
    assert headline.faults(page) == (34, 35)
    page.write_text("# Planted faults\n\nCaught: 0 of 0.\n")
    assert headline.faults(page) is None
    assert headline.faults() is not None  # the page of this project


def test_a_ladder_of_one_framework_compares_nothing():
    assert headline.ladder(None) is None
    assert headline.ladder({"verdict": "not compared", "rungs": [{"rung": 1, "verdict": "not compared"}]}) is None
