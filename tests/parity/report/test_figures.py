"""Figures show what the files say, in full, in part, and when there is nothing."""

import fake_results
import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.errors import UserError
from parity.report.figures import curves, detections, speed, summary
from parity.report.figures.draw import DRAW, draw_all
from parity.report.figures.style import LOOKS, POINTS, display, thin
from parity.report.index import FIGURES, FIGURES_ZH


def loaded(path):
    comparison = load(path)
    return comparison, find(comparison, bootstrap_samples=0)


def texts(figure) -> str:
    found = [t.get_text() for axis in figure.axes for t in axis.texts] + [t.get_text() for t in figure.texts]
    found += [axis.get_title() for axis in figure.axes] + [figure.get_suptitle()]
    legends = [legend for legend in [*(axis.get_legend() for axis in figure.axes), *figure.legends] if legend]
    found += [legend.get_title().get_text() for legend in legends]
    return "\n".join(found + [t.get_text() for legend in legends for t in legend.get_texts()])


def test_every_stem_of_the_index_is_drawn():
    assert list(DRAW) == list(FIGURES) == list(FIGURES_ZH)


def test_all_figures_are_written_and_equal_every_time(tmp_path):
    path = fake_results.make(tmp_path, alignment=True)
    first = draw_all(*loaded(path), tmp_path / "a")
    second = draw_all(*loaded(path), tmp_path / "b", ["loss", "latency_box"])
    assert len(first) == 2 * len(FIGURES)
    for again in second:
        assert again.read_bytes() == (tmp_path / "a" / again.name).read_bytes()
    for file in first:
        if file.suffix == ".png":
            pixels = np.asarray(Image.open(file).convert("L"))
            assert pixels.shape[0] > 300
            assert pixels.std() > 5  # something is drawn
        else:
            assert "<dc:date>" not in file.read_text()


def test_looks_differ_in_grey_and_in_line_style():
    looks = list(LOOKS.values())
    assert len({(str(look.line), look.marker, look.hatch) for look in looks}) == len(looks)
    grey = [np.dot(matplotlib.colors.to_rgb(look.color), (0.299, 0.587, 0.114)) for look in looks]
    assert abs(grey[0] - grey[1]) > 0.2


def test_loss_has_a_curve_per_framework_and_units(tmp_path):
    comparison, findings = loaded(fake_results.make(tmp_path))
    axis = curves.loss(comparison, findings).axes[0]
    assert [line.get_label() for line in axis.lines] == ["PyTorch", "Jittor"]
    assert axis.lines[0].get_ydata().tolist() == [s["total"] for s in comparison.run("torch", 0).steps]
    assert axis.get_xlabel() == "optimiser step"


def test_seeds_are_thin_and_their_mean_is_thick(tmp_path):
    comparison, findings = loaded(fake_results.make(tmp_path, seeds=(0, 1), frameworks=("torch",)))
    axis = curves.loss(comparison, findings).axes[0]
    widths = [line.get_linewidth() for line in axis.lines]
    assert len(widths) == 3
    assert widths[2] > 2 * max(widths[:2])
    seeds = [line.get_ydata() for line in axis.lines[:2]]
    np.testing.assert_allclose(axis.lines[2].get_ydata(), np.mean(seeds, axis=0))
    assert "mean of 2 seeds" in axis.lines[2].get_label()


@pytest.mark.parametrize(("points", "every"), [(12, 1), (400, 16)])
def test_markers_leave_the_line_between_them_visible(tmp_path, points, every):
    comparison, _ = loaded(fake_results.make(tmp_path))
    axis = matplotlib.figure.Figure().subplots()
    curves.draw(axis, comparison, lambda run: (list(range(points)), list(range(points))), "", marker=True)
    assert [line.get_markevery() for line in axis.lines] == [every, every]


def test_ap_is_drawn_in_points(tmp_path):
    figure = curves.ap_curves(*loaded(fake_results.make(tmp_path)))
    assert [axis.get_title() for axis in figure.axes] == ["AP", "AP50", "AP75"]
    assert figure.axes[0].lines[0].get_ydata()[-1] == pytest.approx(50.0)


def test_one_panel_per_loss_component(tmp_path):
    figure = curves.loss_components(*loaded(fake_results.make(tmp_path)))
    main, auxiliary = ["loss_bbox", "loss_giou", "loss_vfl"], ["loss_bbox_aux_0", "loss_giou_aux_0", "loss_vfl_aux_0"]
    assert [axis.get_title() for axis in figure.axes] == main + auxiliary
    assert set(main + auxiliary) == set(fake_results.LOSSES)


def test_which_jittor_was_measured_is_said(tmp_path):
    comparison, findings = loaded(fake_results.make(tmp_path))
    labels = [t.get_text() for t in speed.step_time(comparison, findings).axes[0].get_yticklabels()]
    assert labels == ["PyTorch", "Jittor (fast operators)", "Jittor (stock operators)"]
    assert display("jittor", comparison) == "Jittor (fast operators)"


def test_radar_scales_to_the_better_framework(tmp_path):
    comparison, _ = loaded(fake_results.make(tmp_path))
    scaled = summary.axes_of_summary(comparison)
    assert len(scaled) == 7
    assert all(max(values.values()) == pytest.approx(1) for values in scaled.values())
    assert scaled["training\nspeed"]["jittor"] == pytest.approx(1 / 1.08, rel=0.02)


def test_detections_are_on_the_same_annotated_images(tmp_path):
    figure = detections.detections(*loaded(fake_results.make(tmp_path)))
    rows = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert len(rows) == 4
    assert "image 5" not in rows  # it has no annotation
    said = texts(figure)
    for word in ("ground truth", "PyTorch", "Jittor", "fake circle", "score ≥ 0.5"):
        assert word in said


def test_detections_threshold_goes_down_until_something_is_seen():
    found = {"torch": [{"image_id": 1, "score": 0.2}], "jittor": [{"image_id": 1, "score": 0.9}]}
    assert detections.threshold(found, {1}, 0.5) == 0.1
    assert detections.threshold({"torch": []}, {1}, 0.5) == 0.05
    assert detections.threshold({"jittor": found["jittor"]}, {1}, 0.5) == 0.5


@pytest.mark.parametrize("stem", FIGURES)
def test_nothing_recorded_is_said_in_the_figure(tmp_path, stem):
    drop = ("fakedet/runs/*/*/*.json*", "fakedet/profile/*", "data/*/annotations/*", "data/*/images/val/*")
    comparison, findings = loaded(fake_results.make(tmp_path, drop=drop))
    said = texts(DRAW[stem](comparison, findings))
    expected = ("no step", "no epoch", "no evaluation", "no profile", "not run", "0 quantities", "cannot be read")
    assert any(word in said for word in expected), said


def test_one_framework_one_epoch_one_seed(tmp_path):
    comparison, findings = loaded(fake_results.make(tmp_path, frameworks=("jittor",), epochs=1))
    assert len(draw_all(comparison, findings, tmp_path / "figures")) == 2 * len(FIGURES)
    assert "one framework" in texts(summary.radar(comparison, findings))
    single = curves.ap_curves(comparison, findings).axes[0].lines[0]
    assert single.get_marker() == LOOKS["jittor"].marker  # one point must be seen
    assert single.axes.get_xticks().tolist() == [1]


def test_a_framework_that_left_nothing_is_named(tmp_path):
    comparison, findings = loaded(fake_results.make(tmp_path, drop=("fakedet/runs/jittor/*/metrics.jsonl",)))
    assert "nothing recorded for Jittor" in texts(curves.loss(comparison, findings))


def test_long_curves_are_thinned_and_keep_their_end():
    x = list(range(10 * POINTS + 7))
    thinned, twice = thin(x, [2 * v for v in x])
    assert len(thinned) <= POINTS + 1
    assert (thinned[0], thinned[-1], twice[-1]) == (0, x[-1], 2 * x[-1])
    assert thin([1, 2], [3, 4]) == ([1, 2], [3, 4])


def test_unknown_figure_is_refused(tmp_path):
    with pytest.raises(UserError, match="figure 'nope'"):
        draw_all(*loaded(fake_results.make(tmp_path)), tmp_path, ["nope"])
