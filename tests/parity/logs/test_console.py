"""Console output of no known tool: what a line says about its place, and what it does not."""

import pytest

from parity.logs.read import read


def run_of(tmp_path, text: str):
    (tmp_path / "x").write_text(text, encoding="utf-8")
    return read(str(tmp_path / "x"))


def test_one_line_per_epoch(tmp_path):
    run = run_of(
        tmp_path,
        "".join(f"Epoch {e}/10 - loss: {3 / e} - val_loss: 2.4 - mAP: 0.{e}2 - time: 3{e}.5s\n" for e in (1, 2, 3)),
    )
    assert run.epochs.column("loss") == pytest.approx([3, 1.5, 1]) and run.epochs.column("val loss") == [2.4] * 3
    assert run.evaluations.column("AP") == [0.12, 0.22, 0.32] and run.epochs.column("train_s") == [31.5, 32.5, 33.5]
    assert len(run.steps) == 0 and run.fact("epochs planned") == 10 and run.fact("iterations per epoch") is None


def test_lightning_bar(tmp_path):
    text = "".join(
        f"\rEpoch {e}: {10 * i}%|##| {i}/10 [00:01<00:00,  7.5it/s, v_num=0, train_loss_step={3 - i / 10:.2f}]"
        for e in range(3)
        for i in range(1, 11)
    )
    run = run_of(tmp_path, text)
    assert run.steps.column("loss")[:3] == [2.9, 2.8, 2.7] and run.steps.column("x") == [*range(1, 31)]
    assert run.steps.column("time") == pytest.approx([1 / 7.5] * 30)


def test_counted_images_are_no_iterations(tmp_path):
    run = run_of(tmp_path, "Train Epoch: 1 [0/600 (0%)]\tLoss: 2.3\nTrain Epoch: 1 [64/600 (10%)]\tLoss: 2.2\n")
    assert run.steps.column("loss") == [2.3, 2.2] and run.fact("iterations per epoch") is None


def test_chinese_words(tmp_path):
    run = run_of(tmp_path, "第1轮 训练损失: 2.30 学习率: 0.01\n第2轮 训练损失: 2.10 学习率: 0.01\n验证 mAP: 0.31\n")
    assert run.epochs.column("loss") == [2.3, 2.1] and run.evaluations.column("AP") == [0.31]


def test_milliseconds_become_seconds(tmp_path):
    run = run_of(tmp_path, "".join(f"Epoch 1, Step {i}, loss: 1.{i}, time: 250 ms\n" for i in range(1, 4)))
    assert run.steps.column("time") == [0.25] * 3
