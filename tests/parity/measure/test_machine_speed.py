"""How the machine itself is timed, and what others use is told from one's own."""

import subprocess
import sys
from types import SimpleNamespace

from parity.measure import machine_speed
from parity.measure.machine_speed import Others


def test_a_pulse_is_timed_after_a_rest_and_once_its_threads_have_settled(monkeypatch):
    rests, hashed = [], []
    # Settling ends at 10.02, so that one short turn belongs to it; the computation is timed from 10.25 to 10.5.
    clock = iter([10.0, 10.01, 10.03, 10.25, 10.5])
    monkeypatch.setattr(machine_speed, "time", SimpleNamespace(perf_counter=lambda: next(clock), sleep=rests.append))
    monkeypatch.setattr(machine_speed, "_hash", hashed.append)
    assert machine_speed.Pulse(1).take() == 0.25 and rests == [machine_speed.REST]
    assert hashed == [machine_speed.ROUNDS // 50, machine_speed.ROUNDS]


def test_a_pulse_is_that_of_the_slowest_of_all_threads(monkeypatch):
    slow = iter([0.001, 0.004, 0.002])
    monkeypatch.setattr(machine_speed, "_compute", lambda: next(slow))
    assert machine_speed.Pulse(3).take() == 0.004
    assert next(slow, None) is None


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
    assert round(running, 6) >= 0.5 and round(ended, 6) >= 0.5  # whole ticks of 10 ms, but sums of floats
    assert machine_speed._everything() > ended
