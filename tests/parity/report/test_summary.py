"""Models side by side: what the tables hold, which points nothing beats, what is said about unequal conditions."""

import json
from pathlib import Path

import fake_results
import pandas as pd
import pytest

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.errors import UserError
from parity.measure.processes import processes
from parity.report import summary
from parity.report.figures import pareto
from parity.report.summary import Point


def entry(folder: Path, title: str = "FakeDet", **options) -> summary.Entry:
    path = fake_results.make(folder, **options)
    index = json.loads(path.read_text()) | {"title": title}
    path.write_text(json.dumps(index))
    comparison = load(path)
    return comparison, find(comparison, bootstrap_samples=0)


def test_a_row_per_model_and_framework_with_the_numbers_of_its_comparison(tmp_path):
    entries = [entry(tmp_path / "a", seeds=(0, 1)), entry(tmp_path / "b", "OtherDet", frameworks=("jittor",))]
    table = summary.overview(entries)
    assert table[["model", "framework", "seeds"]].values.tolist() == [
        ["FakeDet", "torch", 2],
        ["FakeDet", "jittor", 2],
        ["OtherDet", "jittor", 1],
    ]
    first = table.iloc[0]
    assert first["AP"] == pytest.approx(100 * (0.5 + 0.504) / 2)
    assert first["AP50"] == pytest.approx(first["AP"] + 20)
    profile = entries[0][0].profiles["torch"]
    middle = sorted(profile["latency"]["total"])
    assert first["inference p50 (ms)"] == pytest.approx(1000 * (middle[29] + middle[30]) / 2)
    assert (first["inference peak (MB)"], first["training peak (MB)"]) == pytest.approx((300.0, 700.0), rel=0.03)
    assert (first["trainable parameters"], first["MACs of one image"]) == (1_234_567, 321_000_000)


def test_verdicts_name_the_rung_that_failed_and_the_audit(tmp_path):
    entries = [entry(tmp_path / "a", alignment=True), entry(tmp_path / "b", manifest={"jittor": {"epochs": 9}})]
    table = summary.verdicts(entries)
    assert table["alignment"].tolist() == ["failed at 6 gradients", "not run"]
    assert table["audit"][0] == "comparable"
    assert "not comparable" in table["audit"][1]
    assert table["latency ratio"][0] == pytest.approx(1.07, abs=0.03)


def test_the_front_keeps_what_nothing_beats_in_both():
    slow, fast = Point("a", "torch", 20.0, 50.0), Point("b", "torch", 10.0, 40.0)
    beaten, tied = Point("c", "torch", 15.0, 39.0), Point("d", "jittor", 20.0, 45.0)
    assert summary.front([slow, beaten, tied, fast]) == [fast, slow]
    assert summary.front([]) == []


def test_unequal_conditions_are_named_and_headline_the_summary(tmp_path):
    more = {name: {"epochs": 50} for name in ("torch", "jittor")}
    entries = [entry(tmp_path / "a"), entry(tmp_path / "b", "OtherDet", manifest=more)]
    tables = {stem: make(entries) for stem, make in summary.TABLES.items()}
    assert summary.unshared(tables["conditions"]) == {"epochs": "2, 50"}
    assert "not run under equal conditions** (epochs: 2, 50)" in summary.render(entries, tables, "en")
    alone = {stem: table.iloc[:1] for stem, table in tables.items()}
    assert "not run under equal conditions" not in summary.render(entries[:1], alone, "en")


@pytest.mark.parametrize(
    ("language", "quiet", "loud"),
    [("en", "Nothing is concluded", "the machine was not idle"), ("zh", "不作结论", "测量时机器并不空闲")],
)
def test_disturbed_measurements_headline_the_summary(tmp_path, language, quiet, loud):
    entries = [entry(tmp_path / "a"), entry(tmp_path / "b", "OtherDet")]
    tables = {stem: make(entries) for stem, make in summary.TABLES.items()}
    text = summary.render(entries, tables, language)
    assert quiet not in text and "1.50" not in text
    comparison, _ = entries[1]
    processes(comparison.profiles["jittor"])[0]["others"]["latency"] = 1.5
    for profile in comparison.profiles.values():
        profile["machine"]["latency"] = [0.006] * 4
    entries[1] = (comparison, find(comparison, bootstrap_samples=0))
    assert summary.disturbed(entries) == {"OtherDet": "busy"}
    assert summary.machine_spread(entries) == pytest.approx(1.5)
    text = summary.render(entries, tables, language)
    assert quiet in text and loud in text and "1.50" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_everything_is_written_and_the_page_embeds_the_figure(tmp_path, language):
    entries = [entry(tmp_path / "a", language=language), entry(tmp_path / "b", "OtherDet", language=language)]
    out = tmp_path / "summary"
    pareto.draw(entries, out / "figures")
    summary.write(entries, out)
    markdown, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert ("Jittor (fast operators)" if language == "en" else "Jittor（快速算子）") in markdown
    assert all(name in markdown for name in ("FakeDet", "OtherDet", "figures/pareto.png", "1,234,567"))
    assert page.count("data:image/png;base64,") == 1
    assert {path.name for path in out.glob("*.csv")} == {f"{stem}.csv" for stem in summary.TABLES}
    assert len(pd.read_csv(out / "overview.csv")) == 4


def test_without_a_profile_the_row_stays_and_the_figure_says_why(tmp_path):
    entries = [entry(tmp_path / "a", drop=("fakedet/profile/*.json",))]
    row = summary.overview(entries).iloc[0]
    assert row["AP"] == pytest.approx(50) and pd.isna(row["inference p50 (ms)"])
    svg = pareto.draw(entries, tmp_path / "out")[1].read_text()
    assert svg == pareto.draw(entries, tmp_path / "again")[1].read_text()
    assert summary.points(entries) == []


def test_the_figure_labels_every_model_and_draws_the_front(tmp_path):
    entries = [entry(tmp_path / "a"), entry(tmp_path / "b", "OtherDet", ap_shift=0.1)]
    (axis,) = pareto.pareto(entries).axes
    assert sorted(text.get_text() for text in axis.texts) == ["FakeDet", "OtherDet"]
    (front,) = [line for line in axis.lines if line.get_label() == "beaten by none"]
    best = summary.front(summary.points(entries))
    assert list(zip(front.get_xdata(), front.get_ydata(), strict=True)) == [(p.latency, p.ap) for p in best]


def test_nothing_to_set_side_by_side_is_refused(tmp_path):
    with pytest.raises(UserError, match="no comparison was given"):
        summary.write([], tmp_path)
