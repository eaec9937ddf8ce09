"""What `make bench` prints."""

import fake_results
import pytest
import show_bench

from parity.errors import UserError


def test_the_table_holds_medians_and_ratios_and_says_what_the_machine_did():
    profiles = {name: fake_results.profile_of(name, name) for name in ("torch", "jittor")}
    profiles["jittor"] |= {
        "machine": {"latency": [0.005] * 4, "train": [0.004] * 4},
        "others": {"latency": 0.5, "train": 0.1},
    }
    text = f"{show_bench.table(profiles)}\n{show_bench.machine_line(profiles)}"
    rows = {line[:22].strip(): line[22:].split() for line in text.splitlines()}
    assert rows["machine, inference"] == ["4.00", "5.00", "1.25"]
    assert rows["machine, training"] == ["4.00", "4.00", "1.00"]
    assert float(rows["training step"][2]) == pytest.approx(
        profiles["jittor"]["train"]["step"][0] / profiles["torch"]["train"]["step"][0], abs=0.01
    )
    assert text.endswith("in the worst series: torch 0.03, jittor 0.50")


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
