"""Steps of the training from the same states: losses, sketches of gradients and updates, and no lean to one side."""

import numpy as np
import pytest
from fake_probe import ANCHORS, failed, judged, probe, put, scale

from parity.align.files import NUDGED_ANCHORS, Probe, save_arrays
from parity.align.ladder import climb, failures
from parity.align.rungs.anchors import lean
from parity.align.rungs.training import free_limits
from parity.align.sketch import sketch
from parity.align.tolerances import TOLERANCES
from parity.align.trajectory import ROUNDED, settled


def every(kind: str, factor):
    """The sketches of one kind multiplied at all anchors."""
    names = [f"{step}/{kind}/stem.weight" for step in range(1, ANCHORS + 1)]
    return lambda arrays: [scale(name, factor)(arrays) for name in names]


def test_a_sketch_is_linear_keeps_norms_and_sees_signs_and_places():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300, 40))
    assert np.allclose(sketch("w", a) + sketch("w", b), sketch("w", a + b))
    assert np.linalg.norm(sketch("w", a)) == pytest.approx(np.linalg.norm(a), rel=0.3)
    flipped = a.copy()
    flipped[7, 7] *= -1
    assert np.abs(sketch("w", flipped) - sketch("w", a)).max() == pytest.approx(2 * abs(a[7, 7]))
    assert not np.allclose(sketch("w", a.reshape(40, 300).T), sketch("w", a))
    assert not np.allclose(sketch("v", a), sketch("w", a))
    assert sketch("bias", np.arange(3)).tolist() == [0, 1, 2]


def test_a_loss_at_one_anchor_has_to_agree(tmp_path):
    alignment = judged(tmp_path, anchors=scale("1/loss/loss_box", 1.0005))
    assert failed(alignment) == [9]
    assert "step 1 from the same state: loss/loss_box 1 and 1.0005" in failures(alignment)[0]


def test_losses_a_little_off_at_every_anchor_fail(tmp_path):
    """A wrong epsilon in the inverse sigmoid moved them by 8e-6; clean runs differ by 1e-7."""
    names = [f"{step}/loss/loss_box" for step in range(1, ANCHORS + 1)]
    alignment = judged(tmp_path, anchors=lambda arrays: [scale(name, 1 + 8e-6)(arrays) for name in names])
    assert "loss/loss_box, median over the anchors" in failures(alignment)[0]


@pytest.mark.parametrize(("kind", "factor"), [("grad", -1), ("update", -1), ("grad", 1.001), ("update", [1, 1.01])])
def test_gradients_and_updates_have_to_agree_and_not_only_their_norms(tmp_path, kind, factor):
    alignment = judged(tmp_path, anchors=every(kind, factor))
    assert failed(alignment) == [9]
    told = alignment["rungs"][9]["details"]["failures"]
    assert f"{kind} of stem.weight, median over the anchors" in told


def test_a_kink_at_one_anchor_is_excused(tmp_path):
    assert failed(judged(tmp_path, anchors=scale("2/grad/stem.weight", 1.01))) == []


def test_a_parameter_may_differ_as_far_as_rounding_moves_it(tmp_path):
    a, b = probe(tmp_path / "a", "one"), probe(tmp_path / "b", "two", True, anchors=every("grad", 1.002))
    assert climb(Probe(a), Probe(b))["rungs"][9]["verdict"] == "fail"
    moved = dict(Probe(a).anchors)
    every("grad", 1.0005)(moved)
    save_arrays(a / "nudged_anchors.npz", moved)
    assert climb(Probe(a), Probe(b))["rungs"][9]["verdict"] == "pass"


def moved_at(factor: float, *steps: int):
    """The gradient's sketch multiplied at these anchors."""
    return lambda arrays: [scale(f"{step}/grad/stem.weight", factor)(arrays) for step in steps]


@pytest.mark.parametrize(
    ("factor", "anchors", "verdict"),
    [
        (1.01, (), "pass"),
        (1.01, (1,), "pass"),
        (1.01, (1, 3), "fail"),
        (0.99, (1, 3), "fail"),
        (0.99, (1, 2), "pass"),  # where rounding moves the first one as far, and at one anchor of three besides
        (0.93, (1, 2), "fail"),  # further than rounding does there
    ],
)
def test_a_kink_of_the_first_framework_is_not_held_against_the_second(tmp_path, factor, anchors, verdict):
    """Seen for real: the first run alone at three anchors of seven, the second at one, and a median of them failed."""
    a = probe(tmp_path / "a", "one", anchors=moved_at(1.01, 2))
    b = probe(tmp_path / "b", "two", True, anchors=moved_at(factor, *anchors))
    again = dict(Probe(a).anchors)
    moved_at(1 / 1.01, 2)(again)  # with other last bits there is no kink
    save_arrays(a / "nudged_anchors.npz", again)
    assert climb(Probe(a), Probe(b))["rungs"][9]["verdict"] == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.01, "pass"), (1.06, "fail"), (-1, "fail")])
def test_what_one_run_with_other_last_bits_misses_another_one_shows(tmp_path, factor, verdict):
    """Seen for real: Jittor met kinks at three anchors of five, PyTorch's one run with other last bits at two."""
    a, b = probe(tmp_path / "a", "one"), probe(tmp_path / "b", "two", True, anchors=moved_at(factor, 1, 2))
    for name, anchors in zip(NUDGED_ANCHORS, ((3,), (3,), (1,)), strict=True):
        assert climb(Probe(a), Probe(b))["rungs"][9]["verdict"] == "fail"
        again = dict(Probe(a).anchors)
        moved_at(0.99, *anchors)(again)
        save_arrays(a / f"{name}.npz", again)
    assert climb(Probe(a), Probe(b))["rungs"][9]["verdict"] == verdict


@pytest.mark.parametrize("factor", [1.005, 0.995, -1])
def test_a_mistake_at_every_anchor_shows_where_rounding_moves_little(tmp_path, factor):
    """Kinks at one anchor do not excuse the others."""
    a, b = probe(tmp_path / "a", "one"), probe(tmp_path / "b", "two", True, anchors=every("grad", factor))
    for name in NUDGED_ANCHORS:
        again = dict(Probe(a).anchors)
        moved_at(0.99, 1)(again)
        save_arrays(a / f"{name}.npz", again)
    rung = climb(Probe(a), Probe(b))["rungs"][9]
    assert "grad of stem.weight, median over the anchors" in rung["details"]["failures"]


@pytest.mark.parametrize(("weight", "verdict"), [(5e3, "fail"), (5e5, "pass")])
def test_an_update_may_differ_by_one_rounding_of_the_parameter(tmp_path, weight, verdict):
    """At the rates of fine-tuning an update is so small that the parameter's last bit is percents of it."""

    def heavy(arrays):
        for step in range(1, ANCHORS + 1):
            arrays[f"{step}/weight/stem.weight"] = np.float64(weight)

    def apart(arrays):
        heavy(arrays)
        for step, factor in enumerate((1.01, 0.99, 1.0), start=1):  # leans to no side
            scale(f"{step}/update/stem.weight", factor)(arrays)

    rung = judged(tmp_path, {"anchors": heavy}, anchors=apart)["rungs"][9]
    assert rung["verdict"] == verdict
    if verdict == "fail":
        assert "update of stem.weight, median over the anchors" in rung["details"]["failures"]


def test_an_anchor_on_one_side_only_is_named(tmp_path):
    def without(arrays):
        for name in [name for name in arrays if name.startswith("3/")]:
            del arrays[name]

    alignment = judged(tmp_path, anchors=without)
    assert "step 3 from the same state: only one framework took it" in failures(alignment)[0]
    assert (alignment["rungs"][9]["expected"]["anchors"], alignment["rungs"][9]["compared"]["anchors"]) == (3, 2)


def test_a_lean_to_one_side_is_found_and_told_with_its_interval(tmp_path):
    assert lean([1e-6, 3e-6]) is None
    found = lean([2e-5, 2.2e-5, 1.8e-5])
    assert found["mean"] == pytest.approx(2e-5) and 0 < found["low"] < 2e-5 < found["high"]
    assert lean([1e-5, -1e-5, 1e-6])["low"] < 0
    names = [f"{step}/total" for step in range(1, ANCHORS + 1)]
    alignment = judged(tmp_path, anchors=lambda arrays: [scale(name, 1 + 5e-5)(arrays) for name in names])
    told = "".join(alignment["rungs"][9]["details"]["failures"])
    assert "the frameworks lean to one side: loss +5.0e-05" in told


def test_a_framework_that_does_not_repeat_itself_is_named(tmp_path):
    alignment = judged(tmp_path, {"anchors": scale("1/total", 1.01)}, anchors=scale("1/total", 1.01))
    assert "one does not repeat its own loss from the weights it had" in failures(alignment)[0]


@pytest.mark.parametrize(("shadow", "verdict"), [([3.0, 3.0, 3.0], "fail"), ([3.0, 2.9, 3.0], "pass")])
def test_a_trajectory_may_part_as_far_as_the_framework_from_itself(tmp_path, shadow, verdict):
    first = {"about": put(("shadow", "total"), shadow)}
    alignment = judged(tmp_path, first, about=put(("trajectory", "total"), [3.0, 2.95, 3.0]))
    assert alignment["rungs"][9]["verdict"] == verdict
    assert alignment["trajectory"]["limit"] == 1e-3
    assert alignment["trajectory"]["relative_difference"] == pytest.approx([0, 0.05 / 3, 0])


def test_what_the_shadow_does_later_counts_only_once_it_has_left_rounding():
    assert free_limits([1e-7, 1e-7, 0.1], 3) == pytest.approx([1e-3, 1e-3, 0.3])
    assert free_limits([1e-7, 1e-5, 0.1], 3) == pytest.approx([1e-3, 0.3, 0.3])


def rare(factor: float):
    """A second parameter, whose gradient is zero on paper at every anchor but the second."""

    def change(arrays):
        for step in range(1, ANCHORS + 1):
            size = factor if step == 2 else 1e-12
            for kind in ("grad", "update"):
                arrays[f"{step}/{kind}/rare.weight"] = size * np.float64([3, -4])

    return change


@pytest.mark.parametrize(("factor", "verdict"), [(1.006, "pass"), (1.05, "fail"), (-1.0, "fail")])
def test_a_gradient_seen_at_one_anchor_is_held_against_the_largest_drift_there(tmp_path, factor, verdict):
    """A median of one value excuses nothing: one unit's kink would fail it, with no drift of its own to allow it."""
    a = probe(tmp_path / "a", "one", anchors=rare(1.0))
    b = probe(tmp_path / "b", "two", True, anchors=rare(factor))
    moved = dict(Probe(a).anchors)
    scale("2/grad/stem.weight", 1.002)(moved)
    scale("2/update/stem.weight", 1.002)(moved)
    save_arrays(a / "nudged_anchors.npz", moved)
    rung = climb(Probe(a), Probe(b))["rungs"][9]
    assert rung["verdict"] == verdict
    if verdict == "fail":
        assert f"grad of rare.weight, median over 1 of {ANCHORS} anchors" in rung["details"]["failures"]


def losses(**components):
    """Losses at the anchors, each multiplied by its factor at every anchor; `small` is a component of its own."""

    def change(arrays):
        for step in range(1, ANCHORS + 1):
            arrays[f"{step}/loss/small"] = np.float64(1e-3)
            for name, factor in components.items():
                arrays[f"{step}/loss/{name}"] = arrays[f"{step}/loss/{name}"] * factor

    return change


@pytest.mark.parametrize(
    ("off", "told"),
    [
        ({"small": 1 + 3e-6}, ""),  # five times its own drift is 3.5e-6, of all drifts pooled 2e-6
        ({"small": 1 + 4e-6}, "loss/small, median over the anchors"),  # a mistake in the component that drifts most
        ({"loss_box": 1 + 1.5e-6}, "loss/loss_box, median over the anchors"),  # another one's drift is no excuse
    ],
)
def test_every_loss_is_judged_by_its_own_drift(tmp_path, off, told):
    a = probe(tmp_path / "a", "one", anchors=losses())
    b = probe(tmp_path / "b", "two", True, anchors=losses(**off))
    moved = dict(Probe(a).anchors)
    losses(small=1 + 7e-7, loss_box=1 + 1e-7)(moved)
    save_arrays(a / "nudged_anchors.npz", moved)
    rung = climb(Probe(a), Probe(b))["rungs"][9]
    assert rung["verdict"] == ("fail" if told else "pass")
    assert rung["details"].get("failures", []) == ([told] if told else [])


@pytest.mark.parametrize(
    ("anchors", "factor", "told"),
    [
        (1, 1 + 1.5e-6, []),  # a few roundings at one step
        (1, 1 + 2e-4, ["step 1 from the same state: loss/loss_box 1 and 1.0002"]),
        (2, 1 + 1.5e-6, []),
        (3, 1 + 1.5e-6, ["loss/loss_box, median over the anchors"]),  # at every step: a mistake
    ],
)
def test_the_median_of_a_loss_counts_where_there_are_enough_anchors(tmp_path, anchors, factor, told):
    def first_ones(arrays):
        for key in [key for key in arrays if int(key.split("/")[0]) > anchors]:
            del arrays[key]

    def off(arrays):
        first_ones(arrays)
        for step in range(1, anchors + 1):
            arrays[f"{step}/loss/loss_box"] = arrays[f"{step}/loss/loss_box"] * factor

    a, b = probe(tmp_path / "a", "one", anchors=first_ones), probe(tmp_path / "b", "two", True, anchors=off)
    assert climb(Probe(a), Probe(b))["rungs"][9]["details"].get("failures", []) == told


def test_what_has_only_been_rounding_is_not_settled():
    moments = {
        "a/exp_avg_sq": np.float32([1e-4, 1e-17, 0.0]),
        "b/exp_avg_sq": np.float32([[1e-19]]),
        "a/exp_avg": np.float32([1, 1, 1]),
        "step": np.int64([3]),
    }
    assert {name: mask.tolist() for name, mask in settled(moments).items()} == {
        "a": [True, False, False],  # the limit is 1e-6 of the largest root, which is 1e-2
        "b": [[False]],
    }
    assert settled({"a/momentum_buffer": np.ones(3)}) == {}  # SGD moves nothing further than its gradient
    assert TOLERANCES["zero gradient"].limit == ROUNDED


@pytest.mark.parametrize(("share", "verdict"), [(0.12, "pass"), (0.21, "incomplete")])
def test_how_much_of_the_updates_is_left_out_is_limited(tmp_path, share, verdict):
    def left_out(arrays):
        arrays.update({f"{step}/left_out": np.float64(share) for step in range(1, ANCHORS + 1)})

    rung = judged(tmp_path, {"anchors": left_out}, anchors=left_out)["rungs"][9]
    assert rung["verdict"] == verdict and rung["details"]["updates_left_out"] == share


def test_an_update_that_is_left_out_altogether_is_not_compared_at_that_anchor(tmp_path):
    """Wrong at two of three anchors, but at one of them nothing of the parameter is left."""

    def unsettled(arrays):
        arrays["1/settled/stem.weight"] = np.int64(0)

    def wrong(arrays):
        for step in (1, 2):
            scale(f"{step}/update/stem.weight", -1)(arrays)

    assert failed(judged(tmp_path / "seen", anchors=wrong)) == [9]
    rung = judged(tmp_path / "left", {"anchors": unsettled}, anchors=wrong)["rungs"][9]
    assert "update of stem.weight, median over 2 of 3 anchors" in "".join(rung["details"]["failures"])
