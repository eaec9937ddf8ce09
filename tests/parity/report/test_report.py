"""The report says what the numbers say, and hedges when they do not carry it."""

import base64
import json
import re

import fake_results
import pytest
from markdown_it import MarkdownIt

from parity.compare import findings as findings_module
from parity.compare.comparison import load
from parity.compare.findings import find
from parity.compare.limits import objects_by_size
from parity.errors import UserError
from parity.measure.processes import processes
from parity.report import report
from parity.report.figures.draw import draw_all
from parity.report.index import FIGURES
from parity.report.tables import make_all, write_all


def build(path, language="en") -> str:
    comparison = load(path)
    findings = find(comparison, bootstrap_samples=100)
    return report.render(comparison, findings, make_all(comparison, findings), language)


def opening(text: str) -> str:
    return text[: text.index("\n## ")]


def test_opening_has_verdicts_key_table_and_one_figure(tmp_path):
    path = fake_results.make(tmp_path, seeds=(0, 1, 2))
    scores = path.parent / "runs/jittor/fake-s1/coco.json"  # differences that are all the same have no spread
    scores.write_text(scores.read_text().replace("0.504,", "0.5046,", 1))
    head = opening(build(path))
    assert head.startswith("# FakeDet (tiny): PyTorch and Jittor\n")
    assert "**Comparable.**" in head
    assert "**AP of free runs: equivalent**" in head
    assert "**Training step, Jittor (fast operators): different**, slower. 1.08 × the time of PyTorch" in head
    assert "| AP, final weights (points) | 50.40 | 50.42 | – |" in head
    assert head.count("![") == 1


def test_every_section_and_every_figure_is_there(tmp_path):
    text = build(fake_results.make(tmp_path, alignment=True))
    sections = re.findall(r"^## (.*)$", text, re.M)
    assert sections == [
        "What was run", "Training", "Accuracy", "Precision and recall",
        "Same weights, other framework", "Speed and memory", "Weights conversion",
        "Alignment", "Fairness audit", "Environment and provenance", "Reproducing each part",
        "Deviations and limitations",
    ]  # fmt: skip
    for stem in FIGURES:
        assert f"(figures/{stem}.png)" in text


def test_what_one_seed_leaves_open_comes_last(tmp_path):
    text = build(fake_results.make(tmp_path))
    assert "inconclusive" not in opening(text)
    assert "> - AP of free runs. Jittor − PyTorch = " in opening(text)
    assert "one seed shows nothing about the spread between seeds" in opening(text)
    assert "no statement about the difference in AP is possible" in text


def test_a_failed_audit_is_the_headline(tmp_path):
    text = build(fake_results.make(tmp_path, manifest={"jittor": {"batch_size": 2}}))
    head = opening(text)
    assert "**Not comparable: different batch size (4 (torch) vs 2 (jittor)).**" in head
    assert "**Comparable" not in head
    assert "Of runs that are not comparable" in head
    assert "| batch size | configured | different | 4 | 2 |" in text
    assert "cannot be put down to the framework" in text


def test_what_was_not_recorded_makes_the_runs_not_comparable(tmp_path):
    text = build(fake_results.make(tmp_path, manifest={"jittor": {"plan_digest": "<drop>"}}))
    assert "**Not comparable: not recorded: data order.**" in opening(text)


def test_one_framework_has_one_column_and_says_so(tmp_path):
    text = build(fake_results.make(tmp_path, frameworks=("torch",)))
    head = opening(text)
    assert "# FakeDet (tiny): PyTorch alone" in head
    assert "Only PyTorch was run; this report has one column." in head
    assert "AP: " not in head.replace("| AP", "")
    assert "Jittor" not in head
    assert "Not run: it needs two frameworks." in text
    assert "Only PyTorch was run. Nothing here compares it with another framework." in text


def test_low_ap_is_hedged(tmp_path):
    path = fake_results.make(tmp_path, seeds=(0, 1))
    comparison = load(path)
    for run in comparison.runs:
        run.coco["metrics"]["AP"] = 0.0002
    findings = find(comparison, bootstrap_samples=0)
    text = report.render(comparison, findings, make_all(comparison, findings), "en")
    assert findings.ap.code == "low_ap" and "> - AP of free runs. " in opening(text)
    assert "the verdict is withheld: the highest AP is 0.02 points, below 5" in opening(text)
    assert make_all(comparison, findings)["verdicts"].iloc[0]["verdict"] == "inconclusive"
    assert "equality at this level says little" in text


@pytest.mark.parametrize(("language", "words"), [("en", "few validation objects (small 14)"), ("zh", "（small 14）")])
def test_few_objects_of_a_size_are_hedged(tmp_path, language, words):
    path = fake_results.make(tmp_path)
    comparison = load(path)
    assert objects_by_size(comparison) == {"small": 14, "medium": 0, "large": 0}
    findings = find(comparison, bootstrap_samples=0)
    assert words in report.render(comparison, findings, make_all(comparison, findings), language)
    (comparison.dataset_dir / "annotations/val.json").write_text("{}")
    assert objects_by_size(comparison) == {}


def test_a_busy_machine_is_hedged(tmp_path):
    path = fake_results.make(tmp_path)
    comparison = load(path)
    processes(comparison.profiles["jittor"])[2]["others"]["train"] = 0.9  # one series of one process
    findings = find(comparison, bootstrap_samples=0)
    text = report.render(comparison, findings, make_all(comparison, findings), "en")
    assert "> - training step, Jittor (fast operators). " in opening(text)
    assert "but the machine was not idle while they were measured" in opening(text)
    assert "cores busy with something else: jittor 0.9" in text


@pytest.mark.parametrize(
    ("language", "words"), [("en", "the machine itself took 1.20 times as long"), ("zh", "请重新测量")]
)
def test_a_machine_that_was_slower_meanwhile_settles_nothing(tmp_path, language, words):
    comparison = load(fake_results.make(tmp_path))
    before = find(comparison, bootstrap_samples=0).speed
    comparison.profiles["jittor"]["machine"]["latency"] = [0.0048] * 40
    findings = find(comparison, bootstrap_samples=0)
    text = report.render(comparison, findings, make_all(comparison, findings), language)
    assert words in opening(text)
    assert findings.speed["inference latency", "jittor"].code == "machine"
    assert findings.speed["training step", "jittor"] == before["training step", "jittor"]
    del comparison.profiles["torch"]["machine"]  # a measurement of an earlier version
    assert find(comparison, bootstrap_samples=0).speed == before


def test_what_an_idle_machine_does_is_no_warning(tmp_path):
    comparison = load(fake_results.make(tmp_path))
    before = find(comparison, bootstrap_samples=0).speed
    third = processes(comparison.profiles["jittor"])[2]
    third["others"]["latency"] = findings_module.IDLE
    assert findings_module.busy(comparison) == {} and find(comparison, bootstrap_samples=0).speed == before
    third["others"]["latency"] = findings_module.IDLE + 0.1
    assert list(findings_module.busy(comparison)) == ["jittor"]
    codes = {key: v.code for key, v in find(comparison, bootstrap_samples=0).speed.items()}
    disturbed = {("inference latency", "jittor"), ("forward pass", "jittor")}
    assert {key for key, code in codes.items() if code == "busy"} == disturbed
    del third["others"]
    codes = {key: v.code for key, v in find(comparison, bootstrap_samples=0).speed.items()}
    assert {key for key, code in codes.items() if code == "unrecorded"} == disturbed | {("training step", "jittor")}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_ran_while_speed_was_measured_is_named(tmp_path, language):
    comparison = load(fake_results.make(tmp_path))
    assert findings_module.overlaps(comparison) == []
    begun, ended = processes(comparison.profiles["jittor-stock"])[1]["span"]
    comparison.runs[1].manifest |= {"started": begun, "finished": ended}
    assert findings_module.overlaps(comparison) == [("profile jittor-stock, process 2", "training jittor seed 0")]
    findings = find(comparison, bootstrap_samples=0)
    text = report.render(comparison, findings, make_all(comparison, findings), language)
    assert "profile jittor-stock, process 2: training jittor seed 0" in text


@pytest.mark.parametrize(
    ("language", "kept", "broken", "pause"),
    [("en", "The frameworks took turns as A B B A", "**That is not A B B A**", "78 minutes passed"),
     ("zh", "两个框架按 A B B A 轮流", "**这不是**计划中的 A B B A 顺序", "相隔 78 分钟")],
)  # fmt: skip
def test_the_order_that_really_happened_is_shown(tmp_path, language, kept, broken, pause):
    path = fake_results.make(tmp_path, language=language)
    text = build(path, language)
    assert kept in text and broken not in text and pause not in text
    for number, hour in ((1, "00"), (2, "02")):  # the first process of Jittor too early, the second too late
        file = path.parent / f"profile/jittor.{number}.json"
        span = [f"2000-01-01T{hour}:{minute}:00+00:00" for minute in ("40", "40")]
        file.write_text(json.dumps(json.loads(file.read_text()) | {"span": span}))
    text = build(path, language)
    assert broken in text and kept not in text and pause in text


def test_profiles_of_unequal_conditions_are_named(tmp_path):
    comparison = load(fake_results.make(tmp_path))
    comparison.profiles["jittor"]["threads"] = 2
    findings = find(comparison, bootstrap_samples=0)
    text = report.render(comparison, findings, make_all(comparison, findings), "en")
    assert "but they were measured under unequal conditions (" in opening(text)
    assert "threads: torch 1, jittor 2, jittor-stock 1" in text


def test_missing_pieces_are_listed(tmp_path):
    text = build(fake_results.make(tmp_path, drop=("fakedet/runs/jittor/*/coco.json", "fakedet/profile/*")))
    assert "**Speed: not measured.**" in opening(text)
    assert re.search(r"Missing or broken: .*runs/jittor/fake-s0/coco\.json", text)


def test_alignment_names_the_rung_that_failed(tmp_path):
    text = build(fake_results.make(tmp_path, alignment=True))
    assert "**Alignment: failed** at 6 gradients." in opening(text)
    assert "| 6 | gradients | fail | 40 of 40 modules | 0.1 | 0.0001 | relative L2 | decoder.fake.weight |" in text
    assert "First divergence: `decoder.fake`. linear: look at the transposition" in text
    without = build(fake_results.make(tmp_path / "without"))
    assert "## Alignment" not in without
    assert "was not checked here layer by layer" in without


@pytest.mark.parametrize(
    ("language", "agree", "differ"),
    [("en", "3 steps spread over the whole training agree too", "**They differ: step 5: total 3 and 4.**"),
     ("zh", "整个训练中的 3 步也一致", "**不一致：step 5: total 3 and 4。**")],
)  # fmt: skip
def test_steps_over_the_whole_training_have_a_section_and_stand_at_the_top_where_they_differ(
    tmp_path, language, agree, differ
):
    path = fake_results.make(tmp_path, language=language, alignment=True)
    text = build(path, language)
    assert agree in opening(text) and "3 of 3 states, 3 of 3 steps" in text and "-4.0e-08" in text
    file = path.parent / "whole_run.json"
    failed = {"verdict": "fail", "where": "step 5: total 3 and 4"}
    file.write_text(json.dumps(json.loads(file.read_text()) | failed))
    text = build(path, language)
    assert agree not in text and differ in text and "9 steps over the whole training" in opening(text)
    file.unlink()
    assert "whole_run.json: cannot be read" in build(path, language)


@pytest.mark.parametrize(
    ("language", "fine", "far"),
    [("en", "No ratio of Jittor is above 2", "**Precision: too far from float64.** losses: 2.5"),
     ("zh", "Jittor 没有比值超过 2", "**精度：离 float64 太远。** losses: 2.5")],
)  # fmt: skip
def test_the_distance_from_float64_has_a_table_and_stands_at_the_top_where_it_is_too_far(tmp_path, language, fine, far):
    path = fake_results.make(tmp_path, language=language, alignment=True)
    text = build(path, language)
    assert fine in text and "10 of 10 | 2e-07 | 3e-07 | 1.5 |" in text and far not in text
    file = path.parent / "alignment/alignment.json"
    alignment = json.loads(file.read_text())
    alignment["precision"] |= {"verdict": "fail", "where": "losses: 2.5"}
    file.write_text(json.dumps(alignment))
    text = build(path, language)
    assert far in opening(text) and fine not in text


@pytest.mark.parametrize(
    ("language", "passed", "differ"),
    [("en", "1 of 1 rungs pass, compared with PyTorch",
      "own operators do not compute the same** at rung 3 (forward, layer by layer) of the ladder"),
     ("zh", "与 PyTorch 相比，1 级中 1 级通过",
      "**Jittor 的原版算子计算不一致**：阶梯第 3 (forward, layer by layer) 级")],
)  # fmt: skip
def test_stock_operators_have_a_section_and_stand_at_the_top_where_they_differ(tmp_path, language, passed, differ):
    path = fake_results.make(tmp_path, language=language, alignment=True)
    text = build(path, language)
    assert passed in text and differ not in text and "tables/stock.csv" in text
    file = path.parent / "stock.json"
    found = json.loads(file.read_text())
    found["rungs"][0]["verdict"] = found["verdict"] = "fail"
    file.write_text(json.dumps(found))
    text = build(path, language)
    assert differ in opening(text) and passed not in text
    found["rungs"].append({**found["rungs"][0], "rung": 4, "name": "post-processing", "verdict": "incomplete"})
    file.write_text(json.dumps(found))
    text = build(path, language)  # what was not compared is not said to differ
    assert "post-processing" not in opening(text) and "4 (post-processing)" in text


def test_chinese_report_has_the_same_numbers_and_tables(tmp_path):
    path = fake_results.make(tmp_path, seeds=(0, 1, 2), alignment=True)
    english, chinese = build(path), build(path, "zh")
    assert "可比" in opening(chinese)

    def cells(text):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        return [re.findall(r"(?<=\| )[-−+]?[\d,.]+(?= \|)", row) for row in rows]

    assert cells(english) == cells(chinese)
    assert len(re.findall(r"^## ", english, re.M)) == len(re.findall(r"^## ", chinese, re.M))
    assert re.findall(r"\((figures/.*?|tables/.*?)\)", english) == re.findall(r"\((figures/.*?|tables/.*?)\)", chinese)


@pytest.mark.parametrize("language", report.LANGUAGES)
def test_every_limitation_has_a_sentence(language):
    source = (report.TEMPLATES / f"report.{language}.md.j2").read_text()
    codes = set(re.findall(r'\("([a-z_]+)", \{', (report.TEMPLATES.parent / "parity/compare/limits.py").read_text()))
    codes |= {"short_training", "fine_tuning"}
    assert len(codes) > 15
    limits = source[source.index("set LIMITS") : source.index("set codes")]
    assert set(re.findall(r'^  "([a-z_]+)":', limits, re.M)) == codes


@pytest.mark.parametrize("language", report.LANGUAGES)
def test_every_variation_renders(tmp_path, language):
    for i, options in enumerate((
        {"frameworks": ("jittor",), "epochs": 1},
        {"seeds": (0, 1), "ap_shift": 0.05},
        {"drop": ("fakedet/runs/*/*/*.json*", "fakedet/profile/*", "data/*/*.json")},
        {"manifest": {"torch": {"ema": None}}},
    )):  # fmt: skip
        text = build(fake_results.make(tmp_path / str(i), **options), language)
        assert "None" not in re.sub(r"`[^`]*`", "", text)
        assert "nan" not in text.split()
        page = report.to_html(re.sub(r"!\[.*", "", text), tmp_path, language)
        assert "**" not in page  # every emphasis was closed where Markdown sees it


def test_html_is_one_file_with_everything_in_it(tmp_path):
    path = fake_results.make(tmp_path, language="zh")
    comparison = load(path)
    findings = find(comparison, bootstrap_samples=0)
    draw_all(comparison, findings, tmp_path / "figures")
    tables = make_all(comparison, findings)
    write_all(tables, tmp_path / "tables")
    written = report.write(comparison, findings, tables, tmp_path)
    page = written[1].read_text()
    assert '<html lang="zh">' in page
    saved = dict(re.findall(r'<a download="([^"]+)" href="data:text/csv;base64,([^"]+)">CSV</a>', page))
    assert base64.b64decode(saved["verdicts.csv"]) == (tmp_path / "tables/verdicts.csv").read_bytes()
    assert len(saved) > 10 and not re.search(r'href="(?!data:)', page)  # no link leads out of the page
    assert page.count("data:image/png;base64,") == len(FIGURES) - 1  # no alignment was given
    assert not re.search(r'src="(?!data:)', page)
    assert "<table>" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|url\(|@import|<script|<link""", page)  # no network
    assert re.search(r"table \{[^}]*overflow-x: auto", page)  # wide tables scroll by themselves, the page does not
    assert re.search(r"p:has\(> img\) \{ overflow-x: auto", page)
    assert page.index("<blockquote>") < page.index("<table>") < page.index("<h2>")  # it opens at the headline


def test_html_names_a_missing_figure(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png"):
        report.to_html("![x](figures/gone.png)", tmp_path)


def test_unknown_language_is_refused(tmp_path):
    comparison = load(fake_results.make(tmp_path, language="fr"))
    with pytest.raises(UserError, match=r"report\.language: 'fr'"):
        report.language_of(comparison)


def test_numbers_are_made_for_reading():
    assert report.number(None) == "–"
    assert report.number(float("nan")) == "–"
    assert report.number(1_234_567) == "1,234,567"
    assert report.number(0.123456) == "0.1235"
    assert report.number(43.956) == "43.96"
    assert report.signed(-0.5) == "−0.50"
    assert report.signed(0.001) == "0.00"
    assert report.fixed(1330.0, 0) == "1,330"


def test_a_cell_cannot_break_the_table():
    line = "| " + report.cell("a|b\nc <i> *d* [e](f)") + " | x |"
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render("| a | b |\n| --- | --- |\n" + line)
    assert page.count("<td>") == 2
    assert "a|b c &lt;i&gt; *d* [e](f)" in page
