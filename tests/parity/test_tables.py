"""Tables hold the numbers of the files they are made from."""

import fake_results
import pandas as pd
import pytest

from parity.comparison import load
from parity.findings import find
from parity.report_index import TABLES, TABLES_ZH
from parity.tables import MAKE, make_all, write_all


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
