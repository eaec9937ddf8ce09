"""How the machine itself is timed, and what others use is told from one's own."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np

from parity.measure import machine_speed
from parity.measure.machine_speed import Others


def test_a_pulse_is_timed_after_a_rest(monkeypatch):
    clock, rests = iter([10.0, 10.25]), []
    monkeypatch.setattr(machine_speed, "time", SimpleNamespace(perf_counter=lambda: next(clock), sleep=rests.append))
    pulse = machine_speed.Pulse(3)
    assert pulse.take() == 0.25 and rests == [machine_speed.REST]
    assert len(pulse.results) == 3  # one for each thread, and every one computed
    assert all(result[0] == 1.0 and result[-1] == np.exp(1.0) for result in pulse.results)


def test_cores_of_others_are_what_is_left_of_the_machines_time(monkeypatch):
    clock, everything, own = iter([0.0, 10.0]), iter([100.0, 118.0]), iter([5.0, 8.0])
    monkeypatch.setattr(machine_speed, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(machine_speed, "_everything", lambda: next(everything))
    monkeypatch.setattr(machine_speed, "_own", lambda: next(own))
    assert Others().cores() == 1.5


def test_children_are_ones_own_whether_they_run_or_have_ended():
    work = "import os\nwhile sum(os.times()[:2]) < 0.5: pass\nprint(flush=True); input()"
    before = machine_speed._own()
    child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    running = machine_speed._own() - before
    child.communicate(b"\n")
    ended = machine_speed._own() - before
    assert running >= 0.5 and ended >= 0.5
    assert machine_speed._everything() > ended
