"""A message names the part that a mistake sits in, not only a number that it moved."""

import numpy as np
import pytest
from fake_probe import GRADIENT, STEPS, failed, judged, probe, scale

from parity.align.files import Probe, save_arrays
from parity.align.ladder import climb


def trained(**factors):
    """Sketches of two modules in training, multiplied by their factors."""

    def change(arrays):
        for i, name in enumerate(("stem", "head")):
            arrays[f"trained/{name}"] = np.float64([1 + i, -2.0]) * factors.get(name, 1.0)

    return change


@pytest.mark.parametrize(
    ("off", "told"),
    [
        ({"stem": 1.01, "head": 1.01}, "in training the first module that differs is stem"),
        ({"head": 1.01}, "in training the first module that differs is head"),
        ({}, "in training all 2 modules agree: look at matching, losses and their weights"),
    ],
)
def test_where_losses_differ_the_first_module_that_differs_in_training_is_told(tmp_path, off, told):
    def mistaken(arrays):
        trained(**off)(arrays)
        scale("loss/loss_box", 1.01)(arrays)

    rung = judged(tmp_path, {"train": trained()}, train=mistaken)["rungs"][5]
    assert rung["verdict"] == "fail" and told in rung["where"]


def test_a_total_of_equal_components_blames_their_weights(tmp_path):
    told = "total: 3 and 3.3 though every component agrees: their weights or their sum"
    assert told in judged(tmp_path / "1", train=scale("total", 1.1))["rungs"][5]["where"]

    def both(arrays):
        scale("total", 1.1)(arrays)
        scale("loss/loss_box", 1.1)(arrays)

    failures = judged(tmp_path / "2", train=both)["rungs"][5]["details"]["failures"]
    assert "total: 3 and 3.3" in failures


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (scale("detections/img0/scores", 0.9), "score"),
        (scale("detections/img0/boxes", 1.1), "box"),
        (lambda arrays: arrays.update({"detections/img0/labels": arrays["detections/img0/labels"] + 1}), "label"),
    ],
    ids=["score", "box", "label"],
)
def test_what_keeps_detections_from_a_partner_is_told(tmp_path, change, want):
    rung = judged(tmp_path, eval=change)["rungs"][4]
    assert f"3 of 3 without a partner, most for want of an equal {want}" in rung["where"]


def test_batches_that_one_framework_does_not_count_fail(tmp_path):
    def counted(more):
        def change(arrays):
            for k in range(STEPS):
                arrays[f"step{k}/buffer/norm.num_batches_tracked"] = np.array(100_000 + k + more)

        return change

    assert failed(judged(tmp_path / "1", {"train": counted(0)}, train=counted(0))) == []
    alignment = judged(tmp_path / "2", {"train": counted(0)}, train=counted(1))
    assert failed(alignment) == [7]
    assert "step0/buffer norm.num_batches_tracked: 100000 and 100001" in alignment["rungs"][7]["where"]


def test_the_median_of_gradients_names_what_rounding_moves_least(tmp_path):
    """Behind a mistake gradients differ more, and rounding moves them more."""
    factors = {"stem.weight": 1 + 2e-4, "head.weight": 1 + 1e-4}

    def moved(by):
        def change(arrays):
            for k in range(STEPS):
                arrays[f"step{k}/grad/head.weight"] = GRADIENT["stem.weight"].copy()
                for name, factor in by.items():
                    arrays[f"step{k}/grad/{name}"] = arrays[f"step{k}/grad/{name}"] * np.float32(factor)

        return change

    a = probe(tmp_path / "a", "one", train=moved({}))
    nudged = dict(Probe(a).train)
    moved({"stem.weight": 1 + 2e-5, "head.weight": 1 + 5e-7})(nudged)
    save_arrays(a / "nudged.npz", nudged)
    b = probe(tmp_path / "b", "two", True, train=moved(factors))
    told = climb(Probe(a), Probe(b))["rungs"][6]["details"]["failures"]
    assert "median over parameters and batches, the most beyond its own drift at head.weight" in told
