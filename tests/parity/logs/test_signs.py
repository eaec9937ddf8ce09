"""Signs are seen where they were planted, with their lines, and not in an honest log."""

import random
import re

import generated_logs as generated
import pytest
from generated_logs import Truth, clock

from parity.logs import audit, signs
from parity.logs.read import read


def found(tmp_path, lines, name="x") -> dict[str, signs.Sign]:
    return {sign.code: sign for sign in signs.signs([read(generated.write(tmp_path / name, lines))])}


@pytest.mark.parametrize("name", [n for n in generated.TEXT if n != "jittordet"])
def test_honest_logs_have_no_signs(name, tmp_path):
    truth = Truth(epochs=8, every=5)
    lines = [re.sub(r"epochs=3\b", "epochs=8", line) for line in generated.TEXT[name](truth)]  # as was planned
    assert found(tmp_path, lines) == {}


def training(time="0.2000", moment=lambda i: 2.0 * i, loss=lambda i: 2.0, count=40) -> list[str]:
    return [
        f"{clock(moment(i))} - mmdet - INFO - Epoch [1][{10 * i}/{10 * count}]\tlr: 1.0e-02, time: {time}, loss: {loss(i)}"  # noqa: E501
        for i in range(1, count + 1)
    ]


def noisy(i: int) -> float:
    return round(2 + random.Random(i).random(), 4)


def test_identical_times(tmp_path):
    sign = found(tmp_path, training(loss=noisy))["identical times"]
    assert sign.lines == [(1, 40)] and sign.numbers["count"] == 40 and sign.numbers["value"] == 0.2
    # two digits repeat in any log
    assert "identical times" not in found(tmp_path, training(time="0.02", loss=noisy))


def test_identical_epoch_times(tmp_path):
    lines = [f"Epoch {e}/12 - loss: {3 - noisy(e) / 9:.3f} - time: 35.20s" for e in range(1, 13)]
    assert found(tmp_path, lines)["identical epoch times"].numbers["count"] == 12


def test_a_curve_without_noise(tmp_path):
    sign = found(tmp_path, training(loss=lambda i: f"{2 * 0.98**i:.6f}"))["no noise"]
    assert sign.lines == [(1, 40)] and sign.numbers["change"] < 0.1
    assert "no noise" not in found(tmp_path, training(loss=noisy))


def test_time_of_day_that_stands_still_or_goes_back(tmp_path):
    sign = found(tmp_path, training(moment=lambda i: 5.5, loss=noisy))["time stands still"]
    assert sign.lines == [(1, 40)] and sign.numbers["seconds"] == pytest.approx(78)
    back = found(tmp_path, training(moment=lambda i: 2.0 * i if i < 20 else 2.0 * i - 30, loss=noisy))["time goes back"]
    assert back.lines == [(19, 20)]


def test_time_of_day_that_contradicts_the_iteration_time(tmp_path):
    sign = found(tmp_path, training(moment=lambda i: 0.5 * i + 0.001 * (i % 3), loss=noisy))["time contradicts"]
    assert sign.numbers["ratio"] == pytest.approx(0.25, rel=0.05)
    assert "time contradicts" not in found(tmp_path, training(moment=lambda i: 2.1 * i + 0.001 * (i % 3), loss=noisy))


def test_running_mean_is_recognised_for_what_it_is(tmp_path):
    assert set(found(tmp_path, generated.jittordet(Truth(epochs=4, every=5)))) == {"running mean"}


def test_ap_that_moves_without_loss(tmp_path):
    lines = ["epoch,loss,AP", *(f"{e},1.25,{0.05 * e:.3f}" for e in range(1, 6))]
    sign = found(tmp_path, lines)["AP without loss"]
    assert sign.numbers["count"] == 4 and sign.numbers["points"] == pytest.approx(20) and sign.lines[0] == (2, 3)


def test_higher_ap_with_higher_loss(tmp_path):
    first = read(generated.write(tmp_path / "a", ["epoch,loss,AP", "1,10.5,0.004", "2,10.1,0.005"]))
    second = read(generated.write(tmp_path / "b", ["epoch,loss,AP", "1,20.5,0.117"]))
    assert signs.against_loss(first, second)[0].numbers["side"] == 1
    assert signs.against_loss(second, first)[0].numbers["side"] == 0
    assert signs.against_loss(first, first) == []


def test_ap_that_stands_still(tmp_path):
    lines = ["epoch,loss,AP", *(f"{e},{3 - noisy(e)},0.312" for e in range(1, 8))]
    assert found(tmp_path, lines)["AP stands still"].numbers["count"] == 7


@pytest.mark.parametrize("words", ["# simulated training, no GPU used", "模拟训练日志", "using mock data"])
def test_words_of_simulation(words, tmp_path):
    sign = found(tmp_path, [words, *training(time="0.21", loss=noisy)])["simulated"]
    assert sign.lines == [(1, 1)] and words.split()[-1] in sign.numbers["text"]


def test_more_epochs_than_planned(tmp_path):
    lines = [line.replace("max_epochs=3", "max_epochs=2") for line in generated.mmengine(Truth())]
    assert found(tmp_path, lines)["more epochs than planned"].numbers == {"planned": 2, "shown": 3}


def test_the_same_log_on_both_sides(tmp_path):
    truth = Truth(epochs=4, every=5)
    first = read(generated.write(tmp_path / "a", generated.mmengine(truth)))
    copy = read(generated.write(tmp_path / "b", generated.mmengine(truth)))
    renamed = read(generated.write(tmp_path / "c", generated.mmcv(truth)))
    other = read(generated.write(tmp_path / "d", generated.mmengine(Truth(epochs=4, every=5, seed=3))))
    assert [s.code for s in signs.same_log(first, copy)] == ["same file"]
    assert [s.code for s in signs.same_log(first, renamed)] == ["same numbers"]
    assert signs.same_log(first, other) == []
    assert audit.audit([first, copy], True).comparable is False


def test_audit_rows(tmp_path):
    first = read(generated.write(tmp_path / "a", generated.mmengine(Truth())))
    second = read(generated.write(tmp_path / "b", generated.jittordet(Truth(per_epoch=100, seed=2))))
    made = audit.audit([first, second], False)
    rows = {row.name: row for row in made.rows}
    assert made.comparable is False
    assert rows["iterations per epoch"].status == "different"
    assert [cell.value for cell in rows["iterations per epoch"].cells] == [50, 100]
    assert rows["epochs"].status == "equal" and rows["highest learning rate"].status == "equal"
    assert rows["batch size"].absent == [1] and rows["training images"].absent == [0, 1]
    assert rows["learning rate by epoch"].cells[0].value == "1–2: 0.01; 3: 0.001"
    lines = (tmp_path / "a").read_text().splitlines()
    assert "[1][10/50]" in lines[rows["iterations per epoch"].cells[0].line - 1]


def test_comparable_only_when_everything_is_recorded_and_equal(tmp_path):
    runs = [read(generated.write(tmp_path / n, generated.mmengine(Truth(seed=s)))) for n, s in (("a", 1), ("b", 2))]
    assert audit.audit(runs, False).comparable is False
    from parity.logs.record import Fact

    for run in runs:
        for name, value in (("training images", 200), ("validation images", 20), ("parameters", 1000)):
            run.facts[name] = Fact(value, 0)
    assert audit.audit(runs, False).comparable is True
    assert audit.audit(runs, True).comparable is False
    runs[1].facts["GPU"] = Fact("another", 1)
    assert [row.name for row in audit.audit(runs, False).different] == ["GPU"]
    assert audit.audit(runs[:1], False).comparable is None
