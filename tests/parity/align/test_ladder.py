import json

import numpy as np
import pytest
from fake_probe import STEPS, drop, failed, judged, probe, put, scale

from parity.align.files import Probe, save_arrays
from parity.align.ladder import climb, failures, summary
from parity.errors import UserError


def test_equal_probes_pass_every_rung(tmp_path):
    alignment = judged(tmp_path)
    assert [rung["verdict"] for rung in alignment["rungs"]] == ["pass"] * 11
    assert (alignment["verdict"], alignment["passed"]) == ("pass", True)
    assert alignment["first_divergence"] is None
    assert alignment["trajectory"]["relative_difference"] == [0.0, 0.0]
    assert failures(alignment) == []
    assert len(summary(alignment)) == 12
    assert all(rung["compared"] == rung["expected"] != {} for rung in alignment["rungs"])
    json.dumps(alignment, allow_nan=False)


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
        (0, "groups.0.lr", {"about": put(("groups", 0, "lr"), 0.2)}),
        (1, "batch 1/boxes", {"batches": scale("1/boxes", 1 + 1e-7, (2, 1))}),
        (1, "SHA-256", {"about": put(("batches_sha256",), ["b"])}),
        (2, "stem.weight is not what the file holds", {"about": put(("weights", "changed_by_pkl"), ["stem.weight"])}),
        (2, "different files", {"about": put(("weights", "file_sha256"), "x")}),
        (3, "output pred_logits", {"eval": scale("output/pred_logits", 1.01)}),
        (4, "image 1: 1 of 3 without a partner, first label 0", {"eval": scale("detections/img1/scores", 0.9, 1)}),
        (4, "trained, image 0: 1 of 3 without a partner", {"final": scale("detections/img0/boxes", 1.1, 0)}),
        (5, "loss/loss_box", {"train": scale("loss/loss_box", 1.001)}),
        (5, "match main/img0: [(0, 0), (0, 1)", {"train": put(("match/main/img0/tgt",), np.int64([0, 1]))}),
        (6, "stem.weight[1, 0]: 0.5 and -0.5", {"train": scale("grad/stem.weight", -1, (1, 0), range(STEPS))}),
        (6, "zero but for rounding in one framework only", {"train": scale("step0/grad/stem.bias", 1e8)}),
        (7, "step_clip[0]", {"train": scale("step_clip", 1.1)}),
        (7, "step0/delta stem.weight[0, 1]", {"train": scale("step0/delta/stem.weight", 2, (0, 1))}),
        (7, "step4/ema stem.weight", {"train": scale("step4/ema/stem.weight", 1.05)}),
        (7, "step2/ema norm.running_mean", {"train": scale("step2/ema/norm.running_mean", 0)}),
        (7, "step1/moment stem.weight/exp_avg", {"train": scale("step1/moment/stem.weight/exp_avg", 1.0001)}),
        (7, "decay stem.weight", {"train": scale("decay/stem.weight", 0)}),
        (7, "evaluated with the average: pred_logits", {"average": scale("output/pred_logits", 1.001)}),
        (7, "step0/buffer norm.running_mean[1]", {"train": scale("step0/buffer/norm.running_mean", 1.5, 1)}),
        (8, "learning rate[1, 0]", {"train": scale("lr", 1 + 1e-12, 1)}),
        (9, "step 2 of 2", {"about": put(("trajectory", "total"), [3.0, 2.91])}),
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


def test_a_missing_layer_output_loss_or_gradient_is_no_pass(tmp_path):
    alignment = judged(tmp_path, eval=drop("output/pred_logits"), train=drop("loss/loss_box", "step0/grad/stem.weight"))
    assert failed(alignment)[:3] == [3, 5, 6]


def test_what_is_not_finite_fails_and_can_be_written(tmp_path):
    def broken(arrays):
        for name in ("layer/stem", "layer/stem@fed"):
            arrays[name] = arrays[name] * np.float32(np.nan)

    alignment = judged(tmp_path, eval=broken, about=put(("trajectory", "total"), [0.0, 1.0]))
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


def test_detections_that_are_not_there_are_not_compared(tmp_path):
    def nothing(arrays):
        for name in [name for name in arrays if name.startswith("detections/")]:
            arrays[name] = arrays[name][:0]

    none = {"eval": nothing, "final": nothing}
    rung = judged(tmp_path, none, **none)["rungs"][4]
    assert (rung["verdict"], rung["where"]) == ("incomplete", "neither framework detects anything on these images")


def test_a_step_from_the_same_weights_has_to_agree(tmp_path):
    alignment = judged(tmp_path, anchors=scale("1/total", 1.002))
    assert failed(alignment) == [9]
    assert "step 1 from the same weights: total 3 and 3.006" in failures(alignment)[0]
    assert alignment["trajectory"]["anchors"]["relative_difference"] == pytest.approx([0.002])
    assert failed(judged(tmp_path / "2", anchors=scale("1/norms", 1.01, 1))) == [9]


@pytest.mark.parametrize(
    ("norms", "verdict", "where"),
    [
        ((1.0, 1.004), "pass", ""),
        ((1.0, 1.006), "fail", "step 2: gradient norms"),
        ((1.004, 1.004), "fail", "median over steps"),
    ],
    ids=["a kink at one step", "more than a kink does", "at every step"],
)
def test_gradients_may_differ_at_a_step_as_a_kink_does_but_not_at_most_steps(tmp_path, norms, verdict, where):
    def two(*factors):
        def change(arrays):
            arrays |= {"2/total": np.float64(2.9), "2/loss/loss_box": np.float64(1.0)}
            arrays |= {f"{step}/norms": np.float64([3, 4]) * factor for step, factor in enumerate(factors, start=1)}

        return change

    a, b = probe(tmp_path / "a", "one", anchors=two(1, 1)), probe(tmp_path / "b", "two", True, anchors=two(*norms))
    save_arrays(a / "nudged_anchors.npz", {"1/norms": np.float64([3, 4]) * 1.001, "2/norms": np.float64([3, 4])})
    rung = climb(Probe(a), Probe(b))["rungs"][9]
    assert rung["verdict"] == verdict
    assert where in "".join(rung["details"].get("failures", []))


def test_a_framework_that_does_not_repeat_itself_is_named(tmp_path):
    alignment = judged(tmp_path, {"anchors": scale("1/total", 1.01)}, anchors=scale("1/total", 1.01))
    assert "one does not repeat its own loss from the weights it had" in failures(alignment)[0]


@pytest.mark.parametrize(("shadow", "verdict"), [([3.0, 2.9], "fail"), ([3.0, 2.8], "pass")])
def test_a_trajectory_may_part_as_far_as_the_framework_from_itself(tmp_path, shadow, verdict):
    first = {"about": put(("shadow", "total"), shadow)}
    alignment = judged(tmp_path, first, about=put(("trajectory", "total"), [3.0, 2.85]))
    assert alignment["rungs"][9]["verdict"] == verdict
    assert alignment["trajectory"]["limit"] == 1e-3
    assert alignment["trajectory"]["relative_difference"] == pytest.approx([0, 0.05 / 2.9])


def test_what_is_no_probe_is_refused_in_one_line(tmp_path):
    folder = probe(tmp_path / "a", "one")
    (folder / "eval.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"eval\.npz: cannot be read as npz"):
        Probe(folder)
    (folder / "probe.json").unlink()
    with pytest.raises(UserError, match=r"probe\.json: cannot be read"):
        Probe(folder)
