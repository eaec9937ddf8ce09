"""How far both frameworks are from float64: told in every mode, judged by the ratio, no pass without numbers."""

import json

import numpy as np
import pytest
from fake_probe import STEPS, drop, probe, scale

from parity.align.files import Probe, save_arrays
from parity.align.ladder import climb, failures, imprecise, summary
from parity.align.precision import ratio

TRAINED = {"output/pred_logits": np.arange(18, dtype=np.float32).reshape(2, 3, 3)}
LOSSES = [
    f"{prefix}{name}"
    for prefix in ("", *(f"batch{k}/" for k in range(1, STEPS)))
    for name in ("total", "loss/loss_box")
]
ASIDE = np.float64([[9, 0], [0, -1]]) / (90 / 14.25) ** 0.5  # moves a gradient by its norm, and leaves the norm alone


def apart(share, *names):
    """A change that moves arrays by a share of themselves."""

    def change(arrays):
        for name in names:
            scale(name, 1 + share)(arrays)

    return change


def turned(share):
    """The same for the gradient."""
    return scale("grad/stem.weight", 1 + share * ASIDE, steps=range(STEPS))


def both(*changes):
    def change(arrays):
        arrays.update({name: array.copy() for name, array in TRAINED.items()})
        for each in changes:
            each(arrays)

    return change


def far(tmp_path, times=1.0, referee=lambda arrays: None, **second):
    """alignment.json of a first framework that is 1e-5 from float64 everywhere, and a second one `times` as far."""
    everything = apart(1e-5, *LOSSES), apart(1e-5, "output/pred_logits"), turned(1e-5)
    one = probe(tmp_path / "a", "one", eval=apart(1e-5, "output/pred_logits"), train=both(*everything))
    changed = {"eval": apart(times * 1e-5, "output/pred_logits"), "train": both(*everything)} | second
    two = Probe(probe(tmp_path / "b", "two", fed=True, **changed))
    whole = Probe(probe(tmp_path / "c", "one", train=both()))
    exact = dict(whole.eval) | {name: whole.train[name] for name in whole.train if "grad/" in name}
    exact |= {f"train/{name}": whole.train[name].astype(np.float64) for name in [*LOSSES, *TRAINED]}
    exact |= {f"train/{name}": whole.train[name] for name in ("output/topk_ind", "layer/decoder.enc_score_head")}
    referee(exact)
    save_arrays(one / "referee.npz", exact)
    return climb(Probe(one), two)


def test_equally_far_frameworks_pass_in_every_mode_and_the_counts_are_told(tmp_path):
    alignment = far(tmp_path)
    found = alignment["precision"]
    assert (found["verdict"], imprecise(alignment), failures(alignment)) == ("pass", [], [])
    counts = {row["what"]: (row["compared"], row["expected"]) for row in found["rows"]}
    assert counts == {
        "outputs, evaluation": (1, 1),
        "outputs, training": (1, 1),
        "losses": (10, 10),
        "gradients": (1, 1),
    }
    for row in found["rows"]:
        assert row["distances"]["one"] == pytest.approx(1e-5, rel=0.05) and row["ratio"] == pytest.approx(1, rel=0.05)
    assert "   from float64, losses (10 of 10): one 1.0e-05, two 1.0e-05, 1 times" in "\n".join(summary(alignment))
    json.dumps(alignment, allow_nan=False)


@pytest.mark.parametrize(
    ("what", "second"),
    [
        ("outputs, evaluation", {"times": 2.5}),
        ("outputs, training", {"train": both(apart(2.5e-5, "output/pred_logits"))}),
        ("losses", {"train": both(apart(2.5e-5, *LOSSES))}),
        ("gradients", {"train": both(turned(2.5e-5))}),
    ],
)
def test_more_than_twice_as_far_fails_and_is_named_while_the_rungs_pass(tmp_path, what, second):
    alignment = far(tmp_path, **second)
    assert alignment["precision"]["verdict"] == "fail"
    assert f"{what}: two is 2.5 times as far from float64 as one" in imprecise(alignment)[0]
    assert failures(alignment) == [] and alignment["passed"]  # it computes the same: the gate stays open


def test_what_was_not_compared_is_incomplete(tmp_path):
    short = far(tmp_path, train=both(drop("batch2/loss/loss_box")))
    assert short["precision"]["verdict"] == "incomplete" and "9 of 10 losses" in imprecise(short)[0]
    nothing = far(tmp_path, referee=drop(*(f"train/{name}" for name in LOSSES)))
    assert nothing["precision"]["verdict"] == "incomplete" and "no losses" in imprecise(nothing)[0]


def test_without_float64_nothing_is_compared_and_that_is_said(tmp_path):
    alignment = climb(Probe(probe(tmp_path / "a", "one")), Probe(probe(tmp_path / "b", "two", fed=True)))
    assert alignment["precision"]["verdict"] == "not compared"
    assert "one offers no float64" in summary(alignment)[-2]


def test_nothing_in_float32_is_nearer_than_half_a_unit():
    assert ratio(1e-9, 5e-8) == 1 and ratio(1e-9, 2.0**-22) == 4 and ratio(1e-5, 2e-5) == 2
