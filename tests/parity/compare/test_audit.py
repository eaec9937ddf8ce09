"""Planted unfairness: every difference that matters is caught, by name.

Most plants go the way of a real run: the engine trains, writes run.json and metrics.jsonl, and the audit reads them.
"""

import json
import sys
from pathlib import Path
from types import ModuleType

import fake_results
import interrupted
import pytest
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.compare.audit import (
    CONFIGURED,
    DIFFERENT,
    EQUAL,
    INFORMATION,
    MISSING,
    OBSERVED,
    RECORDED,
    WATCHED,
    Audit,
    audit,
)
from parity.compare.comparison import load
from parity.config.run import RunConfig
from parity.train import engine


class Other(NumpyFramework):
    """The second framework. Without a plant it computes what the first one computes."""

    name = "other"


class OwnWeights(Other):
    def load_state(self, arrays):
        super().load_state({name: array + (name == "box.weight") * 1e-7 for name, array in arrays.items()})


class DoubledRates(Other):
    def optimizer_step(self, lrs, clip_norm):
        return super().optimizer_step([2 * lr for lr in lrs], clip_norm)


class NoClipping(Other):
    def optimizer_step(self, lrs, clip_norm):
        return super().optimizer_step(lrs, None)


class OtherMomentum(Other):
    def make_optimizer(self, kind, groups, **options):
        super().make_optimizer(kind, groups, momentum=0.5)


class MoreThreads(Other):
    def threads_in_use(self):
        return 2


class OtherPrecision(Other):
    def tensors(self):
        found = super().tensors()
        for entry in found:
            entry.dtype = "float16"
        return found


class ExtraParameter(Other):
    def tensors(self):
        found = super().tensors()
        return [*found, type(found[0])("extra", (1,), "float32", "frozen")]


class Frozen(Other):
    def tensors(self):
        found = super().tensors()
        found[0].kind = "frozen"
        return found


class ExtraBuffer(Other):
    def tensors(self):
        found = super().tensors()
        return [*found, type(found[0])("extra", (1,), "float32", "buffer")]


class WeightedLoss(Other):
    def forward_backward(self, *args, **options):
        result = super().forward_backward(*args, **options)
        result.total *= 1.01
        return result


class WeightedGradient(Other):
    def forward_backward(self, batch, draws, epoch, scale=1.0, extras=False):
        return super().forward_backward(batch, draws, epoch, 1.05 * scale, extras)


# What the second framework does otherwise although it was asked for the same -> rows that must say so.
DONE = {
    OwnWeights: {"weights after loading"},
    DoubledRates: {"learning rates in the optimiser"},
    NoClipping: {"clipping in the optimiser"},
    OtherMomentum: {"groups in the optimiser"},
    MoreThreads: {"threads in effect"},
    OtherPrecision: {"precision in effect"},
    ExtraParameter: {"parameters in total", "parameters with buffers"},
    Frozen: {"trainable parameters", "groups in the optimiser"},
    ExtraBuffer: {"parameters with buffers"},
    WeightedLoss: {"loss of the first step"},
    WeightedGradient: {"gradient norm of the first step"},
}

# What the second run is configured with -> rows that must say so, in the order of the audit.
ASKED = {
    "learning rate": ({"train": {"optimizer": {"kind": "SGD", "lr": 0.2, "weight_decay": 0.0}}}, "optimiser"),
    "schedule": ({"train": {"schedule": {"kind": "constant"}}}, "schedule"),
    "epochs": ({"train": {"epochs": 2}}, "epochs"),
    "batch size": ({"train": {"batch_size": 2}}, "batch size"),
    "accumulation": ({"train": {"accumulate": 3}}, "gradient accumulation"),
    "clipping": ({"train": {"clip_norm": 0.1}}, "gradient clipping"),
    "EMA": ({"train": {"ema": {"decay": 0.5, "warmups": 5}}}, "EMA"),
    "evaluation without EMA": ({"train": {"evaluate_with_ema": False}}, "evaluation with EMA"),
    "augmentation": ({"train": {"augment": {"flip": 0.0}}}, "training batches, every byte"),
    "preprocessing": ({"preprocess": {"kind": "square", "size": 64}}, "validation batches, every byte"),
    "multi-scale": ({"train": {"multi_scale": [32, 64]}}, "multi-scale sizes"),
    "seed": ({"seed": 4}, "data order"),
    "loss weights": ({"options": {"loss_weights": {"box": 2.0}}}, "loss weights"),
    "model options": ({"options": {"depth": 2}}, "model options"),
    "groups": ({"groups": []}, "optimiser groups"),
    "variant": ({"variant": "large"}, "variant"),
    "device": ({"device": "cuda"}, "device"),
    "threads": ({"threads": 2}, "threads"),
}


@pytest.fixture
def run(tmp_path):
    run = make_run(make_dataset(tmp_path / "data"), tmp_path / "init.safetensors")
    interrupted.draw_weights("numpy", run)
    return run | {"seed": 0}


def merge(base, over):
    return {key: merge(base[key], over[key]) if isinstance(base.get(key), dict) and key not in
            ("optimizer", "schedule") and key in over else over.get(key, base.get(key))
            for key in [*base, *over]}  # fmt: skip


def trained(tmp_path: Path, run: dict, other: type[NumpyFramework] = Other, changed: dict | None = None) -> Audit:
    """The audit of two runs that the engine made: another second framework, or another configuration."""
    second = merge(run, changed or {}) | {"framework": "other"}
    pairs = [("numpy", run, NumpyFramework), ("other", second, other)]
    for name, settings, framework in pairs:
        engine.train(RunConfig(**settings), framework(settings["device"], settings["threads"]), tmp_path / name)
    runs = [{"framework": name, "seed": 0, "dir": str(tmp_path / name)} for name, _, _ in pairs]
    index = {"model": "numpy", "frameworks": ["numpy", "other"], "runs": runs}
    (tmp_path / "comparison.json").write_text(json.dumps(index))
    return audit(load(tmp_path / "comparison.json"))


def test_equal_runs_are_comparable_and_every_observed_row_was_recorded(run, tmp_path):
    result = trained(tmp_path, run)
    assert (result.comparable, result.headline) == (True, "comparable")
    assert {row.status for row in result.rows if row.matters} == {EQUAL}
    assert [row.name for row in result.rows if row.kind == OBSERVED] == ["seeds", *WATCHED]
    assert (result.count(OBSERVED), result.count(CONFIGURED)) == (17, 29)


@pytest.mark.parametrize("other", DONE, ids=lambda other: other.__name__)
def test_a_framework_that_does_otherwise_than_it_was_asked_is_caught(run, tmp_path, other):
    result = trained(tmp_path, run, other)
    assert result.comparable is False
    assert DONE[other] <= {row.name for row in result.bad}
    assert {row.kind for row in result.bad if row.name != "optimiser groups"} == {OBSERVED}  # only watching finds it


@pytest.mark.parametrize("name", ASKED)
def test_another_configuration_is_caught(run, tmp_path, name):
    changed, row = ASKED[name]
    result = trained(tmp_path, run, changed=changed)
    assert result.comparable is False
    assert row in {found.name for found in result.bad}
    assert f"{row} (" in result.headline


def test_another_image_is_caught(run, tmp_path):
    first = trained(tmp_path, run)
    image = Path(run["data"]["root"]) / "images/train/7.png"
    image.write_bytes((image.parent / "8.png").read_bytes())
    second = trained(tmp_path / "again", run)
    rows = [{row.name: row for row in result.rows} for result in (first, second)]
    assert [found["training batches, every byte"].status for found in rows] == [EQUAL, EQUAL]
    values = [found["training batches, every byte"].values["numpy"] for found in rows]
    assert values[0] != values[1]


def test_other_code_and_another_wait_of_threads_are_caught(run, tmp_path, monkeypatch):
    class Later(Other):
        def __init__(self, *args):
            super().__init__(*args)
            planted.write_text("PLANTED = 2\n")
            monkeypatch.setenv("GOMP_SPINCOUNT", "5")

    planted = tmp_path / "planted.py"
    planted.write_text("PLANTED = 1\n")
    module = ModuleType("parity.planted")
    module.__file__ = str(planted)
    monkeypatch.setitem(sys.modules, "parity.planted", module)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    result = trained(tmp_path, run, Later)
    bad = {row.name: row for row in result.bad}
    assert set(bad) == {"code of both", "waiting of threads"}
    assert "planted.py: " in bad["code of both"].detail
    assert bad["waiting of threads"].detail == "GOMP_SPINCOUNT: 1000 (numpy) vs 5 (other)"


def test_a_run_that_was_killed_has_observed_the_same(run, tmp_path):
    class Killed(Other):
        def optimizer_step(self, lrs, clip_norm):
            if self.steps == 4:
                raise KeyboardInterrupt
            return super().optimizer_step(lrs, clip_norm)

    run["checkpoint_minutes"] = 1e-9
    with pytest.raises(KeyboardInterrupt):
        engine.train(RunConfig(**run), Killed(), tmp_path / "other")
    assert trained(tmp_path, run).comparable is True


def test_both_values_are_shown(tmp_path):
    weights = {"loss_weights": {"class": 1.0, "bbox": 5.0, "giou": 2.5}}
    row = audit(load(fake_results.make(tmp_path, manifest={"jittor": weights}))).bad[0]
    assert row.detail == "giou: 2 (torch) vs 2.5 (jittor)"
    assert "giou=2.5" in row.values["jittor"]
    row = audit(load(fake_results.make(tmp_path / "none", manifest={"jittor": {"ema": None}}))).bad[0]
    assert row.values["jittor"] == "none"


@pytest.mark.parametrize("frameworks", [["jittor"], ["torch", "jittor"]])
def test_what_was_not_recorded_is_not_called_equal(tmp_path, frameworks):
    overlay = {name: {"plan_digest": "<drop>", "observed": "<drop>"} for name in frameworks}
    result = audit(load(fake_results.make(tmp_path, manifest=overlay)))
    assert result.comparable is False
    assert result.headline.startswith("not comparable: not recorded: weights after loading, ")
    assert {row.status for row in result.bad} == {MISSING}
    assert "data order" in {row.name for row in result.bad}


def test_versions_differ_and_decide_nothing(tmp_path):
    result = audit(load(fake_results.make(tmp_path)))
    versions = next(row for row in result.rows if row.name == "versions")
    assert (versions.status, versions.kind, result.comparable) == (DIFFERENT, INFORMATION, True)


def test_difference_in_one_seed_of_several_is_found(tmp_path):
    comparison = load(fake_results.make(tmp_path, seeds=(0, 1)))
    assert audit(comparison).comparable is True
    comparison.run("jittor", 1).manifest["batch_size"] = 2
    result = audit(comparison)
    assert [row.name for row in result.bad] == ["batch size"]
    assert result.bad[0].detail.startswith("seed 1: ")


def test_the_first_step_of_every_seed_is_compared(tmp_path):
    comparison = load(fake_results.make(tmp_path, seeds=(0, 1)))
    comparison.run("jittor", 1).steps[0]["total"] *= 1.002
    result = audit(comparison)
    assert [row.name for row in result.bad] == ["loss of the first step"]
    assert result.bad[0].detail.startswith("seed 1: ")


def test_a_seed_missing_on_one_side_is_not_dropped_silently(tmp_path):
    comparison = load(fake_results.make(tmp_path, seeds=(0, 1)))
    comparison.runs.remove(comparison.run("jittor", 1))
    result = audit(comparison)
    assert result.comparable is False
    assert [row.name for row in result.bad] == ["seeds"]


def test_a_run_that_stopped_early_is_not_comparable(tmp_path):
    comparison = load(fake_results.make(tmp_path))
    comparison.run("jittor", 0).epochs.pop()
    assert [row.name for row in audit(comparison).bad] == ["epochs finished"]


def test_one_framework_leaves_nothing_to_compare(tmp_path):
    result = audit(load(fake_results.make(tmp_path, frameworks=("jittor",))))
    assert result.comparable is None
    assert "only jittor" in result.headline
    assert {row.status for row in result.rows} == {RECORDED}
