"""The short list of planted faults: those that the NumPy stand-in can have. `make faults` plants all of them."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from bench import PHOTOGRAPHS, RELEASED_TRAJECTORY, Bench, make_released
from catalogue import FAULTS, REASONS
from numpy_framework import NumpyFramework
from page import judge, write_page
from plant import MODELS, failing, main, plant, slug
from planting import attached, replaced, together

from parity.files import write_json

SHORT = [fault for fault in FAULTS if "numpy" in fault.models]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench("numpy", tmp_path_factory.mktemp("faults")).make(NumpyFramework)


def test_a_clean_run_raises_no_alarm(bench):
    assert failing(bench.climb(NumpyFramework)) == []


@pytest.mark.parametrize("fault", SHORT, ids=[fault.name for fault in SHORT])
def test_a_planted_fault_is_caught_and_its_cause_named(bench, fault):
    rung, named = judge(plant(bench, NumpyFramework, fault), fault)
    assert rung is not None and named


def test_every_fault_has_a_name_of_its_own():
    assert len({slug(fault.name) for fault in FAULTS}) == len(FAULTS) >= 60


def test_every_fault_is_planted_where_it_can_be_run():
    assert all(fault.models and set(fault.models) <= {*MODELS, "numpy"} for fault in FAULTS)
    assert all((key if isinstance(key, str) else key[0]) in {fault.name for fault in FAULTS} for key in REASONS)


def test_what_was_replaced_stands_for_itself_again():
    from parity.data import transforms

    before = transforms.pillow_resize
    place = "parity.data.transforms:pillow_resize"
    plan = together(replaced(place, lambda f: "first"), replaced(place, lambda f: f + " and second"))
    with pytest.raises(KeyError), plan(NumpyFramework) as planted:
        assert planted is NumpyFramework
        assert transforms.pillow_resize == "first and second"
        raise KeyError
    assert transforms.pillow_resize is before


def test_a_cause_of_a_higher_rung_is_told_with_its_rung():
    fault = next(f for f in FAULTS if f.named == ("running_",))
    rungs = [{"rung": 5, "where": "total", "failures": []}, {"rung": 7, "where": "a.running_mean", "failures": []}]
    assert judge({"failing": rungs}, fault) == (5, "rung 7: a.running_mean")
    assert judge({"failing": rungs[:1]}, fault) == (5, "")
    assert judge({"failing": []}, fault) == (None, "")


class Var:
    """A tensor of a made-up framework."""

    def detach(self):
        return "detached"


@pytest.fixture
def made_up(monkeypatch):
    runtime = ModuleType("made_up.runtime")
    runtime.jt = SimpleNamespace(Var=Var)
    monkeypatch.setitem(sys.modules, "made_up", ModuleType("made_up"))
    monkeypatch.setitem(sys.modules, "made_up.runtime", runtime)
    return type("MadeUp", (), {"__module__": "made_up.framework"})


def test_two_lines_that_call_one_method_are_replaced_together(made_up):
    """The inner replacement used to see the outer one as its caller, and did nothing."""
    x = Var()
    with together(attached("first = x.detach()"), attached("second = x.detach()"))(made_up):
        first = x.detach()
        second = x.detach()
        third = x.detach()
    assert (first, second, third, x.detach()) == (x, x, "detached", "detached")


def test_a_line_that_is_not_there_is_told(made_up):
    with pytest.raises(LookupError, match="'nowhere': the mistake was not planted"), attached("nowhere")(made_up):
        Var().detach()


def test_the_page_tells_alarms_and_what_had_too_little_to_compare(tmp_path):
    failing = [{"rung": 7, "where": "a moment", "failures": []}]
    for seed, found in enumerate(({"incomplete": [10], "failing": []}, {"incomplete": [], "failing": failing})):
        write_json(tmp_path / f"detr/jittor/clean-{seed}.json", {"clean": seed, "model": "detr", **found})
    write_page(tmp_path / "page.md", tmp_path, [], [("detr", seed) for seed in range(3)])
    (line,) = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("Clean pairs")]
    assert "2 of 3 were run, 1 false alarms: detr seed 1: a moment." in line
    assert line.endswith("There was too little to compare at rung 10 in 1 of 2.")


def test_released_weights_need_photographs_for_two_epochs_of_six_steps(tmp_path, monkeypatch, capsys):
    """With more of them the second epoch, which two mistakes need to be seen, would lie beyond the probe."""
    write_json(tmp_path / "annotations/train.json", {"images": [{"id": k} for k in range(100)]})
    words = ["plant.py", "jittor", "--weights", "weights.safetensors", "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    assert "100 images to train on, 24 are needed" in capsys.readouterr().err


def test_released_weights_start_with_what_every_mistake_needs(tmp_path):
    run = make_released(tmp_path, tmp_path / "init.safetensors")
    train = run["train"]
    assert run["options"]["detach_epoch"] == 1 and train["accumulate"] == 2 and train["ema"]["integers"]
    steps = PHOTOGRAPHS // train["batch_size"] // train["accumulate"]
    assert steps < RELEASED_TRAJECTORY == train["epochs"] * steps
