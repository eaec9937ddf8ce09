"""Speed made alike: per image, after warm-up, whatever the time column means."""

import generated_logs as generated
import pytest
from generated_logs import Truth

from parity.logs import spans, speed
from parity.logs.read import read, state


def test_like_for_like_turns_a_claim_round(tmp_path):
    """One side has twice the batch: slower by iteration, faster by image; its rival prints means since the start."""
    jittor = read(generated.write(tmp_path / "a", generated.jittordet(Truth(epochs=6, per_epoch=100, speed=0.15))))
    torch = read(generated.write(tmp_path / "b", generated.mmengine(Truth(epochs=6, per_epoch=50, speed=0.2, seed=1))))
    unknown = speed.compare(jittor, torch)
    assert unknown.per_image is None and unknown.timings[0].per_image is None  # nothing is filled in
    assert unknown.per_epoch.estimate == pytest.approx(0.2 * 50 / (0.15 * 100), rel=0.02)
    state(jittor, "batch size", "2")
    made = speed.compare(jittor, torch)
    assert made.author > 1 and made.per_iteration.estimate == pytest.approx(0.2 / 0.15, rel=0.02)
    assert made.per_image.estimate == pytest.approx(0.2 / 4 / (0.15 / 2), rel=0.02)
    assert made.per_image.verdict == "different" and made.per_image.high < 0.7
    assert made.timings[0].stated and not made.timings[1].stated


def test_running_mean_is_turned_back(tmp_path):
    truth = Truth(epochs=4, per_epoch=100)
    run = read(generated.write(tmp_path / "a", generated.jittordet(truth)))
    made = speed.timing(run)
    assert made.running_mean and made.source == "stamps"
    assert made.median == pytest.approx(0.202, rel=0.02)
    assert made.author > 1.05 * made.median  # the slow start, counted many times
    low, high = made.interval
    assert low <= made.median <= high
    turned = [t for t, _ in speed.undone(run)]
    assert turned == pytest.approx([s.time for s in truth.steps[1:]], abs=0.03)


def test_column_warm_up_and_batch_over_devices(tmp_path):
    lines = [line.replace("GPU number: 1", "GPU number: 2") for line in generated.mmengine(Truth(epochs=4))]
    made = speed.timing(read(generated.write(tmp_path / "a", lines)))
    assert (made.source, made.batch, made.iterations, made.running_mean) == ("column", 8, 50, False)
    assert made.warm_up == 5 and len(made.samples) == 15 and max(made.samples) < 0.3


def test_nothing_to_go_by(tmp_path):
    made = speed.timing(read(generated.write(tmp_path / "a", generated.detr_log(Truth()))))
    assert (made.source, made.samples, made.median, made.interval, made.author) == ("", [], None, None, None)
    other = read(generated.write(tmp_path / "b", generated.mmengine(Truth())))
    assert speed.compare(other, other).per_iteration.estimate == 1
    assert speed.compare(read(str(tmp_path / "a")), other).per_iteration is None


def test_interval_covers_the_median_as_often_as_it_says():
    import numpy as np

    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        samples = sorted(rng.lognormal(0, 0.2, 21))
        low, high = speed.Timing(samples, "column", 0, 1, 1, None, False, False).interval
        hits += low <= 1 <= high
    assert 0.86 < hits / 400 < 0.99


def test_epoch_times_are_alike_on_both_sides(tmp_path):
    own = read(generated.write(tmp_path / "a", generated.own(Truth())))
    stamps = read(generated.write(tmp_path / "b", generated.mmcv(Truth())))
    assert spans.epoch_times([own, own]) == (["recorded"] * 2, [([1, 2, 3], [11, 12, 13])] * 2)
    how, series = spans.epoch_times([stamps, stamps])
    assert how == ["stamps"] * 2 and series[0][0] == [2, 3] and series[0][1][0] == pytest.approx(15, rel=0.1)
    nothing = read(generated.write(tmp_path / "c", generated.detr_log(Truth())))
    assert spans.epoch_times([own, nothing])[0] == ["recorded", ""]
