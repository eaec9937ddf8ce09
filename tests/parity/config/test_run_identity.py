"""What names a run and a measurement: everything that changes their content, and nothing that does not."""

from pathlib import Path

import pytest
import yaml

from parity.config import ids
from parity.config.resolve import resolve
from parity.config.run import MACHINE_KEYS, ResolvedConfig
from parity.config.workflow import AlignConfig, ProfileConfig, WorkflowConfig

ROOT = Path(__file__).resolve().parents[3]
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
PROFILE = ProfileConfig(images=50, steps=10)


def resolved(**changes) -> ResolvedConfig:
    return resolve(WorkflowConfig(**CONFIG | changes), "rtdetr")


def changed(path: str, value, **more) -> ResolvedConfig:
    """The resolved configuration with one value replaced, `train.optimizer.lr` for example."""
    result = resolved(**more).plain()
    *sections, key = path.split(".")
    place = result
    for section in sections:
        place = place[section]
    assert key in place and place[key] != value
    place[key] = value
    return ResolvedConfig(**result)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("options.num_queries", 7),
        ("preprocess.size", 64),
        ("train.clip_norm", None),
        ("train.optimizer.kind", "SGD"),
        ("train.augment.flip", 0.0),
        ("evaluate.max_detections", 50),
        ("evaluate.batch_size", 1),
        ("data.id", "other"),
        ("init", {"weights": "w.pth", "sha256": "0" * 64}),
        ("label_space", "coco_id"),
        ("device", "cuda"),
        ("threads", 1),
    ],
)
def test_what_is_in_run_yaml_names_the_run(path, value):
    assert ids.run_id(changed(path, value), 0) != ids.run_id(resolved(), 0)


@pytest.mark.parametrize("key", MACHINE_KEYS)
def test_what_changes_no_result_names_nothing(key):
    other = changed(key, 99)
    assert ids.run_id(other, 0) == ids.run_id(resolved(), 0)
    assert ids.profile_id(other, PROFILE) == ids.profile_id(resolved(), PROFILE)


def test_a_run_is_named_by_its_framework_s_own_options_only():
    stock = resolved(jittor={"ops": "stock"})
    assert ids.run_id(stock, 0, "torch") == ids.run_id(resolved(), 0, "torch")
    assert ids.run_id(stock, 0, "jittor") != ids.run_id(resolved(), 0, "jittor")


def test_the_number_of_a_card_is_left_out():
    assert resolved(device="cuda:1").device == "cuda"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.clip_norm", None),
        ("train.ema", None),
        ("train.augment.flip", 0.0),
        ("train.optimizer.kind", "SGD"),
        ("train.batch_size", 1),
        ("train.multi_scale", [64]),
        ("evaluate.max_detections", 50),
        ("options.num_queries", 7),
    ],
)
def test_a_measurement_is_named_by_the_work_of_a_step(path, value):
    profile = PROFILE
    assert ids.profile_id(changed(path, value), profile) != ids.profile_id(resolved(), profile)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.epochs", 99),
        ("train.optimizer.lr", 0.5),
        ("train.schedule.warmup_steps", 1),
        ("train.eval_every", 0),
        ("evaluate.batch_size", 1),
    ],
)
def test_a_measurement_is_not_named_by_how_far_training_goes(path, value):
    profile = PROFILE
    assert ids.profile_id(changed(path, value), profile) == ids.profile_id(resolved(), profile)
    assert ids.profile_train(changed(path, value)) == ids.profile_train(resolved())


def test_how_much_is_measured_counts_and_what_else_is_measured_does_not():
    more, alone, compiled = PROFILE.but(images=51), PROFILE.but(stock=False), PROFILE.but(compile=True)
    names = [ids.profile_id(resolved(), profile) for profile in (PROFILE, more, alone, compiled)]
    assert names[0] == names[2] == names[3] != names[1]


def test_a_measurement_of_both_frameworks_is_named_by_what_either_is_told():
    assert ids.profile_id(resolved(jittor={"ops": "stock"}), PROFILE) != ids.profile_id(resolved(), PROFILE)


def test_tensorboard_names_nothing():
    asked = resolved(models={"rtdetr": {"train": {"tensorboard": True}}})
    assert asked.train.tensorboard and not resolved().train.tensorboard
    assert asked.plain() == resolved().plain()
    align = AlignConfig()
    for names in (lambda r: ids.run_id(r, 0), lambda r: ids.profile_id(r, PROFILE), ids.weights_id):
        assert names(asked) == names(resolved())
    assert ids.alignment_id(asked, align, ["torch"], 0) == ids.alignment_id(resolved(), align, ["torch"], 0)
    assert asked.run("torch", 0, "w").train.tensorboard
