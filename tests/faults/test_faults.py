"""The short list of planted faults: those that the NumPy stand-in can have. `make faults` plants all of them."""

import pytest
from catalogue import FAULTS
from plant import Bench, judge

SHORT = [fault for fault in FAULTS if "numpy" in fault.models]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench("numpy", tmp_path_factory.mktemp("faults"))


def test_a_clean_run_raises_no_alarm(bench):
    assert [rung["rung"] for rung in bench.climb(bench.framework)["rungs"] if rung["verdict"] == "fail"] == []


@pytest.mark.parametrize("fault", SHORT, ids=[fault.name for fault in SHORT])
def test_a_planted_fault_is_caught_and_its_cause_named(bench, fault):
    rung, named = judge(bench.climb(fault.plant(bench.framework)), fault)
    assert rung is not None and named
    assert rung <= fault.rung


def test_every_fault_has_a_name_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
