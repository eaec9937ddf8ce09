"""The short list of planted faults: those that the NumPy stand-in can have. `make faults` plants all of them."""

import pytest
from bench import Bench
from catalogue import FAULTS, REASONS
from numpy_framework import NumpyFramework
from page import judge
from plant import MODELS, failing, plant, slug
from planting import replaced, together

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
