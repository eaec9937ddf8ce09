"""Tables, figures and terminal text of precision, recall and confusions."""

from types import SimpleNamespace

import fake_results
import numpy as np
import pytest

from parity.compare.comparison import load
from parity.compare.quality import qualities, quality
from parity.report import quality as tables
from parity.report import validation
from parity.report.figures.quality import MOST, draw_confusions, draw_curves, most_frequent
from parity.train.evaluate import evaluate


def found_in(path):
    return qualities(load(path))[0]


def files(path):
    comparison = load(path)
    return comparison.dataset_dir / "annotations/val.json", comparison.run("torch", 0).detections


def test_curves_of_the_table_average_to_the_ap_of_coco(tmp_path):
    path = fake_results.make(tmp_path)
    table = tables.precision_recall(found_in(path))
    printed = evaluate(*files(path))
    mean = table.groupby("class", sort=False)[["IoU .50 torch", "IoU .50:.95 torch"]].mean()
    assert mean.loc["all classes"].tolist() == pytest.approx([printed["metrics"][name] for name in ("AP50", "AP")])
    for row in printed["per_class"]:
        assert mean.loc[row["name"]].tolist() == pytest.approx([row["AP50"], row["AP"]])
    assert len(table) == 101 * 4


def test_frameworks_stand_side_by_side_and_seeds_are_averaged(tmp_path):
    found = found_in(fake_results.make(tmp_path, seeds=(0, 1)))
    row = tables.best_f1(found).iloc[0]
    each = [run.best.f1 for run in found["jittor"]]
    assert row["F1 jittor"] == pytest.approx(np.mean(each)) and len(each) == 2
    assert list(tables.best_f1(found)["class"]) == ["all classes", "fake circle", "fake square", "fake star"]
    table = tables.confusion(found)
    assert list(table.columns) == ["object", "detected as", "torch", "jittor"]
    objects = table[table["object"] != "background"]["torch"].sum()
    assert objects == pytest.approx(found["torch"][0].curves[0].objects)
    wrong = tables.mistakes(table, 2)
    assert len(wrong) == 2 and (wrong["object"] != wrong["detected as"]).all()
    assert wrong["torch"].is_monotonic_decreasing


def test_flops_are_twice_the_multiply_accumulates(tmp_path):
    from parity.compare.findings import find
    from parity.report.tables import make_all

    comparison = load(fake_results.make(tmp_path))
    table = make_all(comparison, find(comparison, bootstrap_samples=0))["model_size"].set_index("quantity")
    macs = table.loc["multiply-accumulates of one image", "torch"]
    assert table.loc["FLOPs of one image (2 x multiply-accumulates)", "torch"] == 2 * macs == 642_000_000


def test_figures_draw_the_curves_and_the_counts(tmp_path):
    found = found_in(fake_results.make(tmp_path))
    axis = draw_curves("title", found, {}).axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), found["torch"][0].curves[0].at50)
    panels = draw_confusions("title", found, {}).axes
    assert [p.get_title().split(",")[0] for p in panels] == ["PyTorch", "Jittor"]
    diagonal = int(np.trace(found["torch"][0].confusion))
    written = [t for t in panels[0].texts if t.get_position()[0] == t.get_position()[1]]
    assert sum(float(t.get_text()) for t in written) == diagonal


def test_of_many_classes_those_with_most_objects_have_panels(tmp_path):
    class Row:
        def __init__(self, objects):
            self.name, self.objects = str(objects), objects

    run = SimpleNamespace(curves=[Row(0), *(Row(i) for i in range(30))])
    assert most_frequent({"torch": [run]}) == list(range(31 - MOST, 31))
    assert most_frequent({}) == []


def test_the_terminal_says_the_same_as_the_files(tmp_path):
    path = fake_results.make(tmp_path)
    found = quality(*files(path))
    written = validation.save("torch", found, tmp_path / "out", "fakedet")
    assert len(written) == 7 and all(file.stat().st_size for file in written)
    text = validation.text("torch", found, 5)
    assert f"all classes  14       {found.best.threshold:.3f}" in text
    assert f"mistakes at score >= {found.best.threshold:.3g}" in text
    assert "5 multiply-accumulates of one image, 10 FLOPs (2 x multiply-accumulates)" in text
    (tmp_path / "none.json").write_text("[]")
    nothing = validation.text("torch", quality(files(path)[0], tmp_path / "none.json"), None)
    assert "no detection is right" in nothing and "FLOPs" not in nothing
