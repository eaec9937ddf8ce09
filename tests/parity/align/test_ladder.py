import json

import numpy as np
import pytest
from fake_probe import ANCHORS, STEPS, drop, failed, judged, probe, put, scale

from parity.align.files import Probe
from parity.align.ladder import climb, failures, summary
from parity.errors import UserError

HEAD = ("batch1/match/main/img0/src", "batch1/match/main/img0/tgt")


def test_equal_probes_pass_every_rung(tmp_path):
    alignment = judged(tmp_path)
    assert [rung["verdict"] for rung in alignment["rungs"]] == ["pass"] * 11
    assert (alignment["verdict"], alignment["passed"]) == ("pass", True)
    assert alignment["first_divergence"] is None
    assert alignment["trajectory"]["relative_difference"] == [0.0] * ANCHORS
    assert failures(alignment) == []
    assert len(summary(alignment)) == 13
    assert all(rung["compared"] == rung["expected"] != {} for rung in alignment["rungs"])
    json.dumps(alignment, allow_nan=False)


def test_stock_operators_climb_what_needs_no_training_and_go_by_their_name(tmp_path):
    def short(about):
        for key in ("trajectory", "shadow", "evaluation"):
            about.pop(key)
        about["settings"]["trajectory"] = 0

    first = Probe(probe(tmp_path / "a", "one"))
    second = probe(tmp_path / "b", "two", fed=True, about=short)
    for name in ("anchors", "final"):
        (second / f"{name}.npz").unlink()
    alignment = climb(first, Probe(second, "two-stock"), trained=False)
    assert [rung["verdict"] for rung in alignment["rungs"]] == ["pass"] * 9 and alignment["passed"]
    assert alignment["frameworks"] == ["one", "two-stock"]
    broken = probe(tmp_path / "c", "two", fed=True, about=short, train=drop("step0/grad/stem.weight"))
    alignment = climb(first, Probe(broken, "two-stock"), trained=False)
    assert failed(alignment) == [6] and "has a gradient in one only" in alignment["rungs"][6]["where"]
    assert climb(first, Probe(broken, "two-stock"))["verdict"] == "fail" and first.about["trajectory"]  # left as it was


def test_one_framework_alone_is_not_compared(tmp_path):
    alignment = climb(Probe(probe(tmp_path / "a", "one")))
    verdicts = {rung["rung"]: rung["verdict"] for rung in alignment["rungs"]}
    assert verdicts == dict.fromkeys(range(11), "not compared") | {2: "pass"}
    assert alignment["verdict"] == "not compared" and not alignment["passed"]
    assert failures(alignment) == []  # nothing keeps one framework from being trained
    assert "only one takes part" in alignment["rungs"][6]["where"]


@pytest.mark.parametrize(
    ("rung", "where", "change"),
    [
        (0, "config.train.loss_weights.bbox", {"about": put(("config", "train", "loss_weights", "bbox"), 4.0)}),
        (0, "tensors.stem.weight", {"about": put(("tensors", "stem.weight"), "frozen [2, 2]")}),
        (0, "groups[0].lr", {"about": put(("groups", 0, "lr"), 0.2)}),
        (1, "batch 1/boxes", {"batches": scale("1/boxes", 1 + 1e-7, (2, 1))}),
        (1, "SHA-256", {"about": put(("batches_sha256",), ["b"])}),
        (2, "stem.weight is not what the file holds", {"about": put(("weights", "changed_by_pkl"), ["stem.weight"])}),
        (2, "different files", {"about": put(("weights", "file_sha256"), "x")}),
        (3, "output pred_logits", {"eval": scale("output/pred_logits", 1.01)}),
        (
            4,
            "image 1: 1 of 3 without a partner, most for want of an equal score",
            {"eval": scale("detections/img1/scores", 0.9, 1)},
        ),
        (4, "trained, image 0: 1 of 3 without a partner", {"final": scale("detections/img0/boxes", 1.1, 0)}),
        (5, "loss/loss_box", {"train": scale("loss/loss_box", 1.001)}),
        (5, "match main/img0: [(0, 0), (0, 1)", {"train": put(("match/main/img0/tgt",), np.int64([0, 1]))}),
        (5, "batch 3: loss/loss_box", {"train": scale("batch2/loss/loss_box", 1.001)}),
        (5, "of 10 matches on 5 batches differ", {"train": put(("batch4/match/main/img0/tgt",), np.int64([0, 1]))}),
        (5, "batch 2: match main/img0: only one has it", {"train": drop(*HEAD)}),
        (6, "stem.weight[1, 0]: 0.5 and -0.5", {"train": scale("grad/stem.weight", -1, (1, 0), range(STEPS))}),
        (6, "zero but for rounding in one framework only", {"train": scale("step0/grad/stem.bias", 1e8)}),
        (7, "step_grad_norm[2] of two", {"train": scale("step_grad_norm", 1 + 2e-6, 2)}),
        (7, "step_clip[0]", {"train": scale("step_clip", 1.1)}),
        (7, "step0/delta stem.weight[0, 1]", {"train": scale("step0/delta/stem.weight", 2, (0, 1))}),
        (7, "step4/ema stem.weight", {"train": scale("step4/ema/stem.weight", 1.05)}),
        (7, "step2/ema norm.running_mean", {"train": scale("step2/ema/norm.running_mean", 0)}),
        (7, "step1/moment stem.weight/exp_avg", {"train": scale("step1/moment/stem.weight/exp_avg", 1.0001)}),
        (7, "decay stem.weight", {"train": scale("decay/stem.weight", 0)}),
        (7, "evaluated with the average: pred_logits", {"average": scale("output/pred_logits", 1.001)}),
        (7, "step0/buffer norm.running_mean[1]", {"train": scale("step0/buffer/norm.running_mean", 1.5, 1)}),
        (8, "learning rate[1, 1]", {"train": scale("lr", 1 + 1e-12, 1)}),
        (8, "two's optimiser was given[1, 0]", {"about": put(("trajectory", "lr", 1, 0), 0.11)}),
        (9, "step 2 of 3", {"about": put(("trajectory", "total"), [3.0, 3.01, 3.0])}),
        (10, "AP 0.25000 and 0.26000", {"about": put(("evaluation", "metrics", "AP"), 0.26)}),
        (10, "different weights", {"about": put(("evaluation", "weights_sha256"), "g")}),
    ],
)
def test_each_rung_fails_when_it_should_and_says_where(tmp_path, rung, where, change):
    alignment = judged(tmp_path, **change)
    assert rung in failed(alignment)
    messages = "\n".join([*failures(alignment), *alignment["rungs"][rung]["details"].get("failures", [])])
    assert where in messages
    assert alignment["verdict"] == "fail" and not alignment["passed"]


def test_a_norm_that_both_frameworks_have_wrong_fails(tmp_path):
    wrong = scale("step_grad_norm", 1 + 2e-6)
    alignment = judged(tmp_path, {"train": wrong}, train=wrong)
    assert failed(alignment) == [7]
    assert "step_grad_norm[0] of one" in alignment["rungs"][7]["details"]["failures"][0]


def test_a_missing_layer_output_loss_or_gradient_is_no_pass(tmp_path):
    alignment = judged(tmp_path, eval=drop("output/pred_logits"), train=drop("loss/loss_box", "step0/grad/stem.weight"))
    assert failed(alignment)[:3] == [3, 5, 6]


def test_what_is_not_finite_fails_and_can_be_written(tmp_path):
    def broken(arrays):
        for name in ("layer/stem", "layer/stem@fed"):
            arrays[name] = arrays[name] * np.float32(np.nan)

    alignment = judged(tmp_path, eval=broken, about=put(("trajectory", "total"), [0.0, 1.0, 3.0]))
    assert failed(alignment) == [3, 9]
    assert alignment["first_divergence"]["module"] == "stem"
    json.dumps(alignment, allow_nan=False)


def test_the_broken_module_is_named_and_those_after_it_are_not(tmp_path):
    def broken(arrays):
        """The norm is wrong; the block around it and the head after it only pass that on."""
        for name in ("layer/block.norm", "layer/block.norm@fed", "layer/block", "layer/block@fed"):
            arrays[name] = arrays[name] * np.float32(1.01)
        for name in ("layer/decoder.enc_score_head", "layer/decoder.enc_score_head@in0"):
            arrays[name] = arrays[name] * np.float32(1.01)

    alignment = judged(tmp_path, eval=broken)
    found = alignment["first_divergence"]
    assert (found["module"], found["cause"], found["kind"]) == ("block.norm", True, "batch norm")
    assert "epsilon" in found["hint"]
    assert found["also_to_blame"] == ["block"]
    assert found["carried_over"] == 1
    assert "first divergence: block.norm" in failures(alignment)[0]


def test_the_broken_module_is_told_before_the_queries_that_it_exchanges(tmp_path):
    def broken(arrays):
        for name in ("layer/block.norm", "layer/block.norm@fed", "layer/block", "layer/block@fed"):
            arrays[name] = arrays[name] * np.float32(1.01)
        arrays["output/topk_ind"] = np.array([[0, 2, 1], [0, 1, 2]])

    alignment = judged(tmp_path, eval=broken)
    assert "first divergence: block.norm" in failures(alignment)[0]
    listed = next(rung for rung in alignment["rungs"] if rung["rung"] == 3)["details"]["failures"]
    assert any("queries picked in another order" in line for line in listed)


def test_a_difference_between_modules_blames_the_module_around_it(tmp_path):
    def broken(arrays):
        for name in ("layer/block", "layer/block@fed"):
            arrays[name] = arrays[name] + np.float32(0.01)

    found = judged(tmp_path, eval=broken)["first_divergence"]
    assert (found["module"], found["kind"], found["cause"]) == ("block", "block", True)


def test_without_feeding_inputs_decide(tmp_path):
    def broken(arrays):
        for name in [name for name in arrays if "@fed" in name]:
            del arrays[name]
        for name in ("layer/stem", "layer/block.norm@in0", "layer/block@in0", "layer/block.norm", "layer/block"):
            arrays[name] = arrays[name] * np.float32(1.01)

    found = judged(tmp_path, eval=broken)["first_divergence"]
    assert (found["module"], found["cause"], found["fed_with_reference"]) == ("stem", True, False)


def test_a_difference_that_no_module_makes_is_said_to_come_from_outside(tmp_path):
    def broken(arrays):
        for name in ("layer/stem", "layer/stem@in0"):
            arrays[name] = arrays[name] * np.float32(1.01)

    found = judged(tmp_path, eval=broken)["first_divergence"]
    assert (found["module"], found["cause"]) == ("stem", False)
    assert "its input differs already" in found["hint"]


def test_exchanged_near_ties_pass_and_are_counted(tmp_path):
    def tied(arrays):
        """Positions 1 and 2 score the same but for rounding."""
        scores = arrays["layer/decoder.enc_score_head"] = np.array(arrays["layer/decoder.enc_score_head"])
        scores[0, 2] = scores[0, 1] * np.float32(1 - 1e-6)

    def exchanged(arrays):
        tied(arrays)
        if "layer/decoder.enc_score_head@fed" in arrays:
            arrays["layer/decoder.enc_score_head@fed"] = arrays["layer/decoder.enc_score_head"]
        arrays["output/topk_ind"] = np.array([[0, 2, 1], [0, 1, 2]])
        if "output/pred_logits" in arrays:
            arrays["output/pred_logits"][0] = arrays["output/pred_logits"][0][[0, 2, 1]]
        if "match/main/img0/src" in arrays:
            arrays["match/main/img0/src"] = np.int64([0, 1])

    first = {"eval": tied, "train": tied}
    alignment = judged(tmp_path, first, eval=exchanged, train=exchanged)
    assert failed(alignment) == []
    assert alignment["rungs"][3]["details"]["queries"]["near_ties"] == 2


def test_exchanged_queries_of_different_scores_fail(tmp_path):
    def exchanged(arrays):
        arrays["output/topk_ind"] = np.array([[0, 2, 1], [0, 1, 2]])
        arrays["output/pred_logits"][0] = arrays["output/pred_logits"][0][[0, 2, 1]]

    alignment = judged(tmp_path, eval=exchanged)
    assert failed(alignment) == [3]
    assert "picked in another order for no tie: 2 ranks, image 0" in failures(alignment)[0]


def test_the_only_detection_of_an_image_needs_a_partner_too(tmp_path):
    """The place with the lowest score was excused, as one that a limit may have cut off."""

    def single(shift):
        def change(arrays):
            for name in [name for name in arrays if name.startswith("detections/")]:
                arrays[name] = arrays[name][:1] + (shift if name.endswith("labels") else 0)

        return change

    assert failed(judged(tmp_path / "1", {"eval": single(0)}, eval=single(0))) == []
    assert failed(judged(tmp_path / "2", {"eval": single(0)}, eval=single(1))) == [4]


def test_detections_that_are_not_there_are_not_compared(tmp_path):
    def nothing(arrays):
        for name in [name for name in arrays if name.startswith("detections/")]:
            arrays[name] = arrays[name][:0]

    none = {"eval": nothing, "final": nothing}
    rung = judged(tmp_path, none, **none)["rungs"][4]
    assert (rung["verdict"], rung["where"]) == ("incomplete", "neither framework detects anything on these images")


def test_what_is_no_probe_is_refused_in_one_line(tmp_path):
    folder = probe(tmp_path / "a", "one")
    (folder / "eval.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"eval\.npz: cannot be read as npz"):
        Probe(folder)
    (folder / "probe.json").unlink()
    with pytest.raises(UserError, match=r"probe\.json: cannot be read"):
        Probe(folder)


@pytest.mark.parametrize(("size", "verdict"), [(4e-34, "pass"), (4e-32, "fail")])
def test_moments_may_differ_by_what_a_float32_cannot_keep(tmp_path, size, verdict):
    """The square of a gradient that is only rounding: the relative difference is the same, 2e-5."""

    def moment(factor):
        def change(arrays):
            for k in range(STEPS):
                arrays[f"step{k}/moment/stem.weight/exp_avg_sq"] = np.full((2, 2), size * factor)

        return change

    rung = judged(tmp_path, {"train": moment(1)}, train=moment(1 + 2e-5))["rungs"][7]
    assert rung["verdict"] == verdict


@pytest.mark.parametrize(
    ("before", "off", "verdict"), [(0.0, 1.2e-11, "fail"), (1.5e-4, 1.2e-11, "pass"), (1.5e-4, 1e-9, "fail")]
)
def test_a_moment_whose_terms_cancel_may_differ_by_their_rounding(tmp_path, before, off, verdict):
    """A scale of one element: 0.9 times the moment before and a tenth of the gradient left 8e-6 of 1.5e-4."""

    def moment(value):
        def change(arrays):
            for k in range(STEPS):
                arrays[f"step{k}/moment/stem.weight/exp_avg"] = np.array([value])
                arrays[f"step{k}/moment_norms"] = np.array([before])

        return change

    rung = judged(tmp_path, {"train": moment(8.1e-6)}, train=moment(8.1e-6 + off))["rungs"][7]
    assert rung["verdict"] == verdict
