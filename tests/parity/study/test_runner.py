"""`make study` on the stand-in framework, in this process: rows, going on, failures, refusals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework

from parity import cli
from parity.errors import UserError
from parity.study.protocol import read_protocol, read_recipes
from parity.study.rows import read_rows
from parity.study.runner import Place, Study

ROOT = Path(__file__).resolve().parents[3]
DATA = {"image_size": [64, 64], "train_images": 16, "val_images": 2}
TRAIN = {"epochs": 1, "eval_every": 0, "optimizer": {"kind": "SGD", "lr": 0.1, "weight_decay": 0.0, "momentum": 0.9}}
CONFIGURATION = {"data": {"synthetic": DATA}, "models": {"rtdetr": {"train": TRAIN}}}
RECIPES = {
    "model": "rtdetr",
    "starts": {
        "scratch": {"configuration": CONFIGURATION},
        "checkpoint": {"configuration": CONFIGURATION, "base": CONFIGURATION},
    },
    "pilots": {"quick": {"start": "scratch", "configuration": {"epochs": 2}}},
}
PROTOCOL = {
    "looks": [2],
    "level": 0.02,
    "margin": 1.0,
    "margin_relative": 0.05,
    "floor": 0.0,
    "first_seed": 10,
    "pilot_seeds": [1, 2],
    "base_seed": 3,
    "draws": 1,
    "exam": {"images": 8, "seed": 5, "loss_images": 8},
}


class Torch(NumpyFramework):
    name = "torch"


class Jittor(NumpyFramework):
    name = "jittor"


class Bench:
    """A project of its own, and a record of the verbs that ran in it."""

    def __init__(self, folder: Path):
        self.folder, self.ran, self.told = folder, [], []
        self.fail = lambda framework, words: None  # an exit status instead of the verb's, or an exception
        shutil.copytree(ROOT / "parity", folder / "parity", ignore=shutil.ignore_patterns("__pycache__"))
        for framework in ("torch", "jittor"):
            (folder / f"{framework}_impl").mkdir()
            (folder / f"{framework}_impl/framework.py").write_text("lr = 1\n")
        (folder / "config/study").mkdir(parents=True)
        shutil.copy(ROOT / "config/config.yaml", folder / "config/config.yaml")
        self.write(PROTOCOL, RECIPES)

    def write(self, protocol, recipes):
        (self.folder / "config/study/protocol.yaml").write_text(yaml.safe_dump(protocol))
        (self.folder / "config/study/rtdetr.yaml").write_text(yaml.safe_dump(recipes))

    def call(self, framework, words, log):
        status = self.fail(framework, words)
        if status is None:
            status = cli.main({"torch": Torch, "jittor": Jittor}[framework], words)
        else:
            log.write_text("loss is nan at step 3\n")
        self.ran.append((framework, words[0]))
        return status

    @property
    def study(self):
        config = self.folder / "config"
        place = Place(self.folder, config, self.folder / "results/study", self.folder / "rtdetr.csv")
        protocol, recipes = read_protocol(config / "study"), read_recipes(config / "study", "rtdetr")
        return Study("rtdetr", protocol, recipes, place, self.call, self.told.append)

    @property
    def rows(self):
        return read_rows(self.folder / "rtdetr.csv")

    def count(self, verb):
        return sum(ran == verb for _, ran in self.ran)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_study_runs_to_its_last_look(bench, jobs):
    bench.write(PROTOCOL | {"looks": [2, 3]}, RECIPES)
    bench.study.run("scratch", jobs=jobs)
    rows = sorted(bench.rows, key=lambda row: (row.seed, row.draw, row.framework != "torch"))
    assert [(r.seed, r.arm, r.draw, r.last_bits, r.framework) for r in rows[:4]] == [
        (10, "main", 0, "none", "torch"),
        (10, "main", 0, "none", "jittor"),
        (10, "null", 1, "all", "torch"),
        (10, "null", 1, "all", "jittor"),
    ]
    # One framework twice: every difference is zero, which shows no spread, so that no look decides.
    assert len(rows) == 12 and {row.seed for row in rows} == {10, 11, 12} and all(row.done for row in rows)
    assert (bench.count("train"), bench.count("exam"), bench.count("init")) == (12, 12, 3)
    runs = [yaml.safe_load(path.read_text()) for path in bench.folder.glob("results/study/rtdetr/*/*/*/run.yaml")]
    assert {run["threads"] for run in runs} == {1} and len(runs) == 12  # the protocol's, not those of config.yaml
    for torch, jittor in zip(rows[::2], rows[1::2], strict=True):
        assert torch.initial_weights == jittor.initial_weights and torch.final_weights == jittor.final_weights
        assert torch.AP == jittor.AP and torch.loss == jittor.loss and torch.loss > 0
    assert len({row.initial_weights for row in rows}) > 2 and rows[0].machine and "numpy" in rows[0].versions
    assert "3 pairs, Jittor − PyTorch +0.00" in bench.told[-1] and len(bench.told) == 4
    assert not list(bench.folder.rglob("results/study/rtdetr/scratch*/torch/**/*.safetensors"))
    before = list(bench.ran)
    bench.study.run("scratch")  # nothing is left to do
    assert bench.ran == before and len(bench.rows) == 12


def test_killed_anywhere_it_goes_on_and_trains_nothing_twice(bench):
    whole = []
    for number in range(1, 9):
        calls = iter(range(1, 100))

        def kill(framework, words, number=number, calls=calls):
            if next(calls) > number % 3:
                raise KeyboardInterrupt

        bench.fail = kill
        try:
            bench.study.run("scratch")
        except KeyboardInterrupt:
            whole.append(len(bench.rows))
    bench.fail = lambda framework, words: None
    bench.study.run("scratch")
    assert whole == sorted(whole) and 0 < whole[-1] < 8 and len(bench.rows) == 8
    assert bench.count("train") == 8


def test_a_run_stopped_by_a_signal_is_no_row(bench):
    bench.fail = lambda framework, words: 137 if words[0] == "exam" else None
    with pytest.raises(UserError, match=r"exam in torch was stopped \(status 137\); the same call goes on"):
        bench.study.run("scratch")
    assert bench.rows == [] and bench.count("train") == 1
    bench.fail = lambda framework, words: None
    bench.study.run("scratch")
    assert bench.count("train") == 8


def test_a_failed_run_is_a_row_and_can_be_repeated(bench):
    lost_run = ("jittor", "train", "s11-d0-none")
    bench.fail = lambda name, words: 2 if (name, words[0], Path(words[-1]).name) == lost_run else None
    bench.study.run("scratch")
    lost = [row for row in bench.rows if not row.done]
    found = [(row.seed, row.framework, row.draw, row.reason) for row in lost]
    assert found == [(11, "jittor", 0, "loss is nan at step 3")]
    assert lost[0].AP is None and lost[0].initial_weights
    bench.study.run("scratch")  # is not repeated by itself
    assert len(bench.rows) == 8
    bench.fail = lambda framework, words: None
    bench.study.run("scratch", again=True)
    assert len(bench.rows) == 9 and bench.rows[-1].done and bench.rows[-1].seed == 11


def test_the_common_checkpoint_is_trained_once_and_starts_every_run(bench):
    bench.study.run("checkpoint")
    main, null = ({row.initial_weights for row in bench.rows if row.arm == arm} for arm in ("main", "null"))
    assert len(main) == 1 and len(null) == 2 and {row.base for row in bench.rows} == main
    assert (bench.count("train"), bench.count("init")) == (9, 1)
    for path in bench.folder.glob("results/study/rtdetr/base-*"):
        shutil.rmtree(path)
    bench.study.run("checkpoint")  # trained anew to the same bits
    assert len(bench.rows) == 8 and bench.count("train") == 10


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda bench: bench.write(PROTOCOL | {"margin": 2.0}, RECIPES), "configuration: the configuration of torch"),
        (lambda bench: (bench.folder / "jittor_impl/framework.py").write_text("lr = 2\n"), "code: the code of jittor"),
        (lambda bench: (bench.folder / "parity/train/engine.py").write_text("x = 1\n"), "code: the code of torch"),
    ],
)
def test_a_study_goes_on_with_the_same_code_and_configuration_only(bench, change, name):
    bench.fail = lambda framework, words: 137 if len(bench.ran) > 8 else None
    with pytest.raises(UserError, match="was stopped"):
        bench.study.run("scratch")
    bench.fail = lambda framework, words: None
    change(bench)
    with pytest.raises(
        UserError, match=rf"rtdetr\.csv: {name}.* is .* now, but .*; a study goes on with the same one only"
    ):
        bench.study.run("scratch")


def test_comments_and_docstrings_change_no_digest(bench):
    bench.study.run("scratch")
    file = bench.folder / "torch_impl/framework.py"
    file.write_text('"""Says what it is."""\n\n# why\nlr   = 1\n')
    bench.study.run("scratch")


def test_code_edited_during_a_run_is_not_counted(bench):
    def edit(framework, words):
        if words[0] == "exam":
            (bench.folder / "torch_impl/framework.py").write_text("lr = 3\n")

    bench.fail = edit
    with pytest.raises(UserError, match="the code of torch was edited while it ran"):
        bench.study.run("scratch")
    assert bench.rows == [] and not list(bench.folder.glob("results/study/rtdetr/scratch-*/torch/*"))


def test_pilots_are_pytorch_alone_on_their_own_seeds(bench):
    bench.study.pilot("quick", 2, ["zeros", "nonzeros"])
    rows = bench.rows
    assert [(r.arm, r.seed, r.framework, r.last_bits) for r in rows[:3]] == [
        ("pilot", 1, "torch", "none"),
        ("pilot", 1, "torch", "zeros"),
        ("pilot", 1, "torch", "nonzeros"),
    ]
    assert len(rows) == 6 and rows[-1].seed == 2 and rows[0].recipe == "quick"
    bench.study.pilot("quick", 2, ["zeros", "nonzeros"])
    assert len(bench.rows) == 6
    with pytest.raises(UserError, match="PILOT=slow: expected one of quick"):
        bench.study.pilot("slow", 2, ["all"])


def test_exam_images_are_drawn_apart(bench):
    bench.study.pilot("quick", 1, [])
    folders = [path for path in (bench.folder / "results/study/data").iterdir() if path.is_dir()]
    shown = {len(list((folder / "images/val").iterdir())) for folder in folders}
    assert len(folders) == 2 and shown == {2, 8}


def test_wrong_protocols_are_refused_by_key(bench):
    for change, message in (
        ({"looks": [3, 2]}, "looks"),
        ({"pilot_seeds": [10]}, "pilot_seeds and base_seed must not be seeds of pairs"),
        ({"level": 0.5}, "protocol.yaml: level: 0.5 is not allowed"),
        ({"colour": 1}, "colour: unknown key"),
    ):
        bench.write(PROTOCOL | change, RECIPES)
        with pytest.raises(UserError, match=message):
            bench.study  # noqa: B018
    bench.write(PROTOCOL, RECIPES | {"pilots": {"a": {"start": "nowhere"}}})
    with pytest.raises(UserError, match="pilot a names an unknown start"):
        bench.study  # noqa: B018


def test_nudged_starts_differ_in_the_last_bits(bench):
    bench.write(PROTOCOL | {"last_bits": {"first": "zeros", "others": "all"}}, RECIPES)
    bench.study.run("scratch")
    main = [row for row in bench.rows if row.arm == "main"]
    assert {row.last_bits for row in main} == {"zeros"} and len({row.initial_weights for row in bench.rows}) > 2
    assert np.isfinite([row.AP for row in bench.rows]).all()
