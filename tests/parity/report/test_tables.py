"""Tables hold the numbers of the files they are made from."""

import json

import fake_results
import pandas as pd
import pytest

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.report.index import TABLES, TABLES_ZH
from parity.report.report import render
from parity.report.tables import MAKE, make_all, write_all


def build(path):
    comparison = load(path)
    return make_all(comparison, find(comparison, bootstrap_samples=100))


def test_every_stem_of_the_index_is_made():
    assert list(MAKE) == list(TABLES) == list(TABLES_ZH)


def test_training_shows_absolute_and_relative_differences(tmp_path):
    table = build(fake_results.make(tmp_path))["training"].set_index("quantity")
    wall = table.loc["wall clock of the run (s)"]
    assert (wall["torch"], wall["jittor"], wall["jittor - torch"]) == (60, 66, 6)
    assert wall["relative (%)"] == pytest.approx(10)
    assert table.loc["steps", "torch"] == 20
    assert table.loc["waiting for data while training (s)", "torch"] == pytest.approx(20 * 0.02)
    assert table.loc["trainable parameters", "jittor - torch"] == 0


def test_performance_in_points_with_mean_and_deviation_over_seeds(tmp_path):
    table = build(fake_results.make(tmp_path, seeds=(0, 1), ap_shift=0.02))["performance"]
    final = table[(table["moment"] == "final weights") & (table["metric"] == "AP")].set_index("seed")
    assert list(final.index) == ["0", "1", "mean", "std"]
    assert final.loc["mean", "torch"] == pytest.approx(50.2)
    assert final.loc["mean", "jittor - torch"] == pytest.approx(2.0)
    assert final.loc["std", "torch"] == pytest.approx(0.4 / 2**0.5)
    assert len(table) == 3 * 12 * 4
    small = table[(table["moment"] == "final weights") & (table["metric"] == "APs")]
    assert small["torch"].isna().all()


def with_voc(comparison_file, values: dict[str, float | None]):
    """The comparison after its evaluations of final weights got VOC's AP, `values` by framework under the 2007 rule."""
    for run in load(comparison_file).runs:
        path = run.dir / "coco.json"
        metrics = {"AP50_voc07": values[run.framework], "AP50_voc10": 0.625}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"voc": {"metrics": metrics, "per_class": []}}))
    return comparison_file


def test_performance_has_the_aps_of_voc_where_the_data_are_vocs(tmp_path):
    table = build(with_voc(fake_results.make(tmp_path), {"torch": 0.5, "jittor": 0.75}))["performance"]
    assert len(table) == 3 * 12 + 2
    rows = table.set_index("metric").loc[["AP50 VOC07", "AP50 VOC10"]]
    assert list(rows["moment"]) == ["final weights"] * 2
    assert rows.loc["AP50 VOC07", ["torch", "jittor", "jittor - torch"]].tolist() == [50.0, 75.0, 25.0]
    assert rows.loc["AP50 VOC10", ["torch", "jittor"]].tolist() == [62.5, 62.5]


def test_an_ap_of_voc_without_objects_is_empty(tmp_path):
    table = build(with_voc(fake_results.make(tmp_path), {"torch": None, "jittor": 0.75}))["performance"]
    row = table[table["metric"] == "AP50 VOC07"].iloc[0]
    assert pd.isna(row["torch"]) and row["jittor"] == 75.0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_shows_the_aps_of_voc_in_both_languages(tmp_path, language):
    comparison = load(with_voc(fake_results.make(tmp_path, seeds=(0, 1)), {"torch": 0.5, "jittor": 0.75}))
    findings = find(comparison, bootstrap_samples=0)
    text = render(comparison, findings, make_all(comparison, findings), language)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| AP50 VOC")}
    assert list(rows) == ["AP50 VOC07", "AP50 VOC10"]
    assert [cell.strip() for cell in rows["AP50 VOC07"].split("|")[2:5]] == ["50.00", "75.00", "25.00"]


def test_per_epoch_has_a_row_for_every_epoch_of_every_run(tmp_path):
    table = build(fake_results.make(tmp_path, seeds=(0, 1), epochs=2))["per_epoch"]
    assert len(table) == 2 * 2 * 2
    assert {"loss_vfl", "loss_bbox", "AP", "AR100"} <= set(table.columns)
    assert table["AP"].iloc[0] == pytest.approx(25.0)


def test_same_weights_has_both_columns_and_an_interval(tmp_path):
    table = build(fake_results.make(tmp_path))["same_weights"]
    assert list(table["weights of"]) == ["torch", "jittor"]
    assert table["difference"].iloc[0] == pytest.approx(0.01)
    assert (table["low (95 %)"] <= table["high (95 %)"]).all()


def test_inference_percentiles_and_ratios(tmp_path):
    table = build(fake_results.make(tmp_path))["inference"].set_index("quantity")
    assert {"torch", "jittor", "jittor-stock"} <= set(table.columns)
    for stage in ("total", "forward"):
        row = [table.loc[f"{stage} {p} (ms)", "torch"] for p in ("p50", "p90", "p95", "p99", "max")]
        assert row == sorted(row)
    assert table.loc["preprocess p50 (ms)", "torch"] == pytest.approx(2.0)
    assert 1.6 < table.loc["total p50 (ms)", "jittor-stock / torch"] < 2.0


def test_verdicts_carry_margin_and_reason(tmp_path):
    table = build(fake_results.make(tmp_path))["verdicts"].set_index(["quantity", "compared"])
    assert table.loc[("final AP", "jittor"), "verdict"] == "inconclusive"
    assert "one seed" in table.loc[("final AP", "jittor"), "reason"]
    assert table.loc[("training step", "jittor-stock"), "verdict"] == "different"
    assert table.loc[("training step", "jittor-stock"), "margin"] == 0.05


def test_one_framework_leaves_one_column_and_no_differences(tmp_path):
    tables = build(fake_results.make(tmp_path, frameworks=("jittor",)))
    assert list(tables["training"].columns) == ["seed", "quantity", "jittor"]
    # what is left to compare is Jittor's own operators with the fast ones
    assert set(tables["verdicts"]["compared"] + "/" + tables["verdicts"]["against"]) == {"jittor-stock/jittor"}
    assert tables["same_weights"].empty


def test_missing_files_leave_empty_cells(tmp_path):
    path = fake_results.make(tmp_path, drop=("fakedet/runs/jittor/*/*.json*", "fakedet/profile/*"))
    tables = build(path)
    training = tables["training"].set_index("quantity")
    assert pd.isna(training.loc["last loss", "jittor"])
    assert training.loc["last loss", "torch"] > 0
    assert "torch" not in tables["inference"].columns


def test_csv_files_are_equal_every_time(tmp_path):
    path = fake_results.make(tmp_path, seeds=(0, 1))
    first = write_all(build(path), tmp_path / "a")
    second = write_all(build(path), tmp_path / "b")
    assert [p.stem for p in first] == list(TABLES)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert "jittor - torch" in (tmp_path / "a/training.csv").read_text().splitlines()[0]


def test_the_variant_table_sets_what_was_chosen_beside_an_official_variant(tmp_path):
    path = fake_results.make(tmp_path)
    comparison = load(path)
    comparison.model = "rtdetr"
    comparison.config |= {"options": {"hidden_dim": 8, "num_queries": 300}, "train": {"epochs": 4}}
    table = MAKE["variant"](comparison, None).set_index("setting")
    assert list(table.columns) == ["tiny", "r18vd"]
    assert list(table.loc["options.hidden_dim"]) == [8, 256] and list(table.loc["train.epochs"]) == [4, 72]
    assert "options.num_queries" not in table.index  # as in the official one
