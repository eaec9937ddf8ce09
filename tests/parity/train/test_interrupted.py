"""A training that is killed anywhere and called again ends with the same files."""

import interrupted


def test_killed_at_twenty_points_it_ends_the_same(tmp_path):
    rows = interrupted.table("numpy", 20, tmp_path)
    print(interrupted.show("numpy", rows))
    assert len(rows) == 20 and not any(row["differs"] for row in rows)
    # the points are where they should be: in the middle of an epoch, and with a checkpoint half written
    assert any(".tmp" in row["killed"] and "checkpoints" in row["killed"] for row in rows)
    assert sum(row["again"] != "the start" for row in rows) > 5


def test_a_difference_is_seen(tmp_path):
    interrupted.prepare("numpy", tmp_path)
    run = interrupted.json.loads((tmp_path / "run.json").read_text())
    interrupted.draw_weights("numpy", run)
    for name, seed in (("a", 3), ("b", 4)):
        (tmp_path / "run.json").write_text(interrupted.json.dumps(run | {"seed": seed}))
        assert interrupted.launch("numpy", tmp_path / "run.json", tmp_path / name)[0] == 0
    first, second = (interrupted.outcome(tmp_path / name) for name in "ab")
    found = interrupted.differences(first, second)
    assert found[0] == "last.safetensors" and found[-1].startswith("metrics[0].")
