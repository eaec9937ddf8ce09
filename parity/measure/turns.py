"""The order in which the processes of a measurement take turns: A B B A, and whether they really did.

A machine drifts: it grows warm, a neighbour begins to work. If one setting were measured after the other, all of the
drift would fall on one side. PyTorch and Jittor take turns in the order A B B A, again and again, so that each is as
early and as late as the other. Further settings (Jittor's own operators, torch.compile) come afterwards, the longest
last. So they can be asked for later without measuring anything again.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from parity.measure.processes import Profile, processes

GROUPS = (("torch", "jittor"), ("jittor-stock",), ("torch-compile",))

Turn = tuple[str, int]  # a setting, and the number of its process, from 1


def turns(number: int, groups: tuple[tuple[str, ...], ...] = GROUPS) -> list[Turn]:
    """Every turn in order, with `number` processes of each setting."""
    order = []
    for settings in groups:
        for process in range(1, number + 1):
            order += [(setting, process) for setting in (settings if process % 2 else reversed(settings))]
    return order


def happened(profiles: Mapping[str, Profile]) -> list[tuple[str, datetime, datetime]]:
    """(setting, start, end) of every process by the recorded clock, the earliest first.

    Empty where a process did not record its span.
    """
    found: list[tuple[str, datetime, datetime]] = []
    for setting, profile in profiles.items():
        for process in processes(profile):
            span = process.get("span")
            if not span or None in span:
                return []
            found.append((setting, *(datetime.fromisoformat(moment) for moment in span)))
    return sorted(found, key=lambda entry: entry[1])


def report(profiles: Mapping[str, Profile]) -> dict[str, Any] | None:
    """What the recorded starts say; None where a process did not record its span, or there is only one setting.

    order: the settings as they began; expected: as they should have; alternated: whether both are the same;
    pause: seconds between a process and the next one, the longest of them.
    """
    found = happened(profiles)
    if len(profiles) < 2 or not found:
        return None
    number = max(len(processes(profile)) for profile in profiles.values())
    known = {(setting, n + 1) for setting, profile in profiles.items() for n in range(len(processes(profile)))}
    order = [setting for setting, _, _ in found]
    expected = [setting for setting, process in turns(number) if (setting, process) in known]
    pauses = [(later[1] - earlier[2]).total_seconds() for earlier, later in pairwise(found)]
    return {
        "order": order,
        "expected": expected,
        "alternated": order == expected,
        "pause": max(0.0, *pauses),
    }
