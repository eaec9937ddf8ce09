"""Planted unfairness: every difference that matters is caught, by name."""

import fake_results
import pytest

from parity.compare.audit import DIFFERENT, MISSING, RECORDED, audit, compare_manifests
from parity.compare.comparison import load

PLANTED = {
    "learning rate": {"lr_digest": "2" * 64},
    "epochs": {"epochs": 3},
    "batch size": {"batch_size": 2},
    "loss weights": {"loss_weights": {"class": 1.0, "bbox": 5.0, "giou": 2.5}},
    "trainable parameters": {"parameters": {"trainable": 1, "total": 1_234_567, "with_buffers": 1_240_000}},
    "parameters with buffers": {"parameters": {"trainable": 1_234_567, "total": 1_234_567, "with_buffers": 1}},
    "initial weights": {"weights_sha256": "9" * 64},
    "continued from": {"continued_from": {"framework": "torch", "step": 4}},
    "data order": {"plan_digest": "9" * 64},
    "dataset (image subset)": {"dataset_digest": "9" * 64},
    "training images": {"train_images": 39},
    "first batches (preprocessing)": {"batches_sha256": ["a" * 64, "b" * 64, "9" * 64]},
    "preprocessing": {"preprocess": {"kind": "square", "size": 65}},
    "augmentation": {"augment": {"flip": 0.0}},
    "precision": {"precision": "float16"},
    "threads": {"threads": 2},
    "device": {"device": "cuda"},
    "EMA": {"ema": None},
    "evaluation with EMA": {"evaluate_with_ema": False},
    "optimiser": {"optimizer": {"kind": "SGD", "lr": 1e-4}},
    "optimiser groups": {"groups": [{"names": ["a.weight", "b.weight"], "lr": 1e-4, "weight_decay": 0.0}]},
    "gradient clipping": {"clip_norm": None},
    "seed": {"seed": 5},
    "model options": {"options": {"hidden_dim": 16, "num_queries": 5}},
    "number of classes": {"num_classes": 80},
    "schedule": {"schedule": {"kind": "multistep"}},
}


def test_equal_manifests_are_comparable():
    result = compare_manifests(fake_results.manifest_of("torch"), fake_results.manifest_of("jittor"))
    assert result.comparable is True
    assert result.headline == "comparable"
    versions = next(row for row in result.rows if row.name == "versions")
    assert versions.status == DIFFERENT
    assert not versions.matters


@pytest.mark.parametrize("name", PLANTED)
def test_planted_unfairness_is_caught_by_name(name):
    other = fake_results.manifest_of("jittor") | PLANTED[name]
    result = compare_manifests(fake_results.manifest_of("torch"), other)
    assert result.comparable is False
    assert [row.name for row in result.bad] == [name]
    assert result.headline.startswith(f"not comparable: different {name} (")


def test_both_values_are_shown():
    other = fake_results.manifest_of("jittor") | PLANTED["loss weights"]
    row = compare_manifests(fake_results.manifest_of("torch"), other).bad[0]
    assert row.detail == "giou: 2 (torch) vs 2.5 (jittor)"
    assert "giou=2.5" in row.values["jittor"]
    ema = compare_manifests(fake_results.manifest_of("torch"), fake_results.manifest_of("jittor") | {"ema": None}).bad[
        0
    ]
    assert ema.values["jittor"] == "none"


def test_what_was_not_recorded_is_not_called_equal():
    other = fake_results.manifest_of("jittor")
    del other["plan_digest"]
    result = compare_manifests(fake_results.manifest_of("torch"), other)
    assert result.comparable is False
    assert result.headline == "not comparable: not recorded: data order"
    assert result.bad[0].status == MISSING
    both = fake_results.manifest_of("torch")
    del both["plan_digest"]
    assert compare_manifests(both, other).bad[0].status == MISSING


def test_difference_in_one_seed_of_several_is_found(tmp_path):
    comparison = load(fake_results.make(tmp_path, seeds=(0, 1)))
    assert audit(comparison).comparable is True
    comparison.run("jittor", 1).manifest["batch_size"] = 2
    result = audit(comparison)
    assert [row.name for row in result.bad] == ["batch size"]
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
