"""What `make bench` prints."""

import json
import re
from pathlib import Path

import fake_results
import numpy as np
import pytest
import show_bench

from parity.errors import UserError
from parity.measure.processes import processes


def published(folder, compiled: bool = True) -> Path:
    """A folder of published measurements of every setting; `compiled`: whether the model could be."""
    folder.mkdir()
    for setting in ("torch", "jittor", "jittor-stock", "torch-compile"):
        for number in (1, 2, 3, 4):
            profile = fake_results.profile_of(setting.partition("-")[0], setting, number)
            if setting == "torch-compile" and not compiled:
                profile = {"setting": setting, "uncompiled": "not compiled and measured within 9 seconds"}
            (folder / f"{setting}.{number}.json").write_text(json.dumps(profile))
    return folder


def test_the_table_has_every_setting_with_its_spread_and_the_ratio_with_its_interval(tmp_path):
    profiles = show_bench.read(published(tmp_path / "profile"))
    table = {row[0]: row[1:] for row in show_bench.rows(profiles)}
    assert show_bench.header()[1:5] == ["PyTorch", "compiled", "Jittor fast", "Jittor stock"]
    assert {"training step, ms", "inference, ms", "memory, training, MB", "first forward + first two steps, s"} <= set(
        table
    )
    steps = [1e3 * profile["train"]["step"][0] for profile in processes(profiles["jittor"])]
    assert table["training step, ms"][2] == f"{np.median(steps):.1f} ({min(steps):.1f}-{max(steps):.1f})"
    ratio = re.fullmatch(r"([\d.]+) \(([\d.]+)-([\d.]+)\)", table["training step, ms"][5])
    low, middle, high = (float(ratio[i]) for i in (2, 1, 3))
    assert 1.03 < low <= middle <= high < 1.13
    assert table["machine, step, ms"][4:] == ["1.00 (1.00-1.00)"] * 3


def test_the_text_says_what_the_machine_did_and_in_which_order(tmp_path):
    profiles = show_bench.read(published(tmp_path / "profile"))
    profiles["jittor"]["processes"][1]["others"] = {"latency": 0.5, "train": 0.1}
    text = show_bench.text(profiles)
    assert "in the worst series: PyTorch 0.03, Jittor fast 0.50, compiled 0.03" in text
    assert "processes in the order A B B A, the longest pause 90 s" in text


def test_ratios_that_a_report_would_withhold_are_named(tmp_path):
    profiles = show_bench.read(published(tmp_path / "profile"))
    assert "withheld" not in show_bench.text(profiles)
    for process in processes(profiles["jittor"]):
        process["machine"]["train"] = [1.5 * value for value in process["machine"]["train"]]
    profiles["jittor"]["machine"]["train"] = [1.5 * value for value in profiles["jittor"]["machine"]["train"]]
    processes(profiles["jittor-stock"])[0]["others"] = {"latency": 0.5, "train": 0.1}
    assert show_bench.disturbed(profiles) == [
        "withheld: training step, Jittor fast: the fixed computation took 1.50 times as long",
        "withheld: inference, Jittor stock: others kept 0.50 cores busy",
    ]


def test_a_model_that_could_not_be_compiled_is_named_and_has_no_numbers(tmp_path):
    profiles = show_bench.read(published(tmp_path / "profile", compiled=False))
    assert all(row[2] == "-" for row in show_bench.rows(profiles))
    assert "compiled: not measured, not compiled and measured within 9 seconds" in show_bench.text(profiles)


def test_the_table_is_added_to_a_page_with_commit_and_machine(tmp_path):
    profiles = show_bench.read(published(tmp_path / "profile"))
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n")
    for commit in ("a" * 40, "b" * 40):
        show_bench.append(page, [show_bench.markdown(profiles, commit, "2000-01-02T03:04:05+00:00")])
    text = page.read_text()
    titles = [f"### 2000-01-02, `{letter * 10}`: fakedet tiny, cpu, 1 threads, Fake CPU" for letter in "ab"]
    assert text.startswith("# Speed\n") and all(text.count(title) == 1 for title in titles)
    assert text.count("| training step, ms |") == 2
    with pytest.raises(UserError, match=r"other\.md: cannot be read"):
        show_bench.append(tmp_path / "other.md", [])


def test_a_folder_without_measurements_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no profile, expected one of torch\.1\.json"):
        show_bench.read(tmp_path)


def test_the_line_of_the_loader_has_both_medians_and_their_ratio():
    measured = {"workers": 4, "images": 64, "single": [50.0, 10.0, 20.0], "threads": [90.0, 40.0, 60.0], "ratio": 3.0}
    line = show_bench.loader_line(measured)
    assert line == "loader, 64 training images: 60.0 images/s with 4 threads, 20.0 with one, ratio 3.00"


def test_the_loader_is_measured_as_the_first_published_measurement_was_configured(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(show_bench, "load_run", lambda path: asked.append(path) or {"model": "rtdetr"})
    (tmp_path / "published.txt").write_text(f"{tmp_path}/0123abcd/torch.json\n{tmp_path}/4567abcd/jittor.json\n")
    assert show_bench.measured_run(tmp_path) == {"model": "rtdetr"}
    assert asked == [tmp_path / "0123abcd/torch.run.yaml"]


def test_measurements_that_were_not_published_are_named(tmp_path):
    with pytest.raises(UserError, match=r"published\.txt: cannot be read"):
        show_bench.measured_run(tmp_path)
