"""The reference computation is run as often as asked; how long it takes is nobody's business here."""

from parity import machine_speed


def test_every_repetition_but_the_first_counts(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(machine_speed.time, "perf_counter", lambda: next(clock) ** 2)
    assert machine_speed.reference_times(3) == [5, 9, 13]
