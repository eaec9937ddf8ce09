"""The order in which processes take turns, and what the recorded starts say about it."""

import fake_results

from parity.measure import turns
from parity.measure.processes import merge


def begun(order: list[str], seconds: int = 60) -> dict:
    """Merged profiles of settings whose processes began in this order, one every `seconds`, each 30 s long."""
    found: dict[str, list] = {}
    for place, setting in enumerate(order):
        profile = fake_results.profile_of("torch", "torch")
        minute, second = divmod(place * seconds, 60)
        begin = f"2000-01-01T00:{minute:02}:{second:02}.000+00:00"
        profile["span"] = [begin, f"2000-01-01T00:{minute:02}:{second + 30:02}.000+00:00"]
        found.setdefault(setting, []).append(profile)
    return {setting: merge(several) for setting, several in found.items()}


ABBA = ["torch", "jittor", "jittor", "torch"] * 2


def test_the_frameworks_alternate_and_the_rest_comes_last():
    order = turns.turns(4)
    assert [setting for setting, _ in order[:8]] == ABBA
    assert [setting for setting, _ in order[8:]] == ["jittor-stock"] * 4 + ["torch-compile"] * 4
    for setting in ("torch", "jittor", "torch-compile", "jittor-stock"):
        assert [number for name, number in order if name == setting] == [1, 2, 3, 4]


def test_each_setting_is_as_early_as_the_other():
    places = {name: [i for i, (other, _) in enumerate(turns.turns(4)) if other == name] for name in ("torch", "jittor")}
    assert sum(places["torch"]) == sum(places["jittor"])


def test_an_order_that_was_kept_is_seen_and_its_longest_pause():
    found = turns.report(begun(ABBA))
    assert found["alternated"] and found["order"] == ABBA and found["pause"] == 30


def test_one_setting_after_the_other_is_no_alternation():
    found = turns.report(begun(["torch"] * 4 + ["jittor"] * 4))
    assert not found["alternated"] and found["order"][:4] == ["torch"] * 4 and found["expected"] == ABBA


def test_what_was_not_recorded_is_not_judged():
    profiles = begun(ABBA)
    profiles["jittor"]["processes"][2]["span"] = None
    assert turns.report(profiles) is None
    assert turns.report({"torch": begun(ABBA)["torch"]}) is None
