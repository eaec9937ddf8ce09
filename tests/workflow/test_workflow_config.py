"""The configuration: schema, defaults, overrides from the command line, refusals, documentation."""

from pathlib import Path

import config_tables
import jsonschema
import pytest
import workflow_config
import yaml
from pydantic.fields import FieldInfo

from parity.config import models
from parity.config.data import DataConfig
from parity.config.layers import merge
from parity.config.section import Section, inner
from parity.config.workflow import WorkflowConfig
from parity.data.build import SOURCES
from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())


def fields(section: type[Section], prefix: str = "") -> dict[str, FieldInfo]:
    """Every key of a section by its dotted path."""
    found = {}
    for key, field in section.model_fields.items():
        found[prefix + key] = field
        if inner(field.annotation) is not None:
            found |= fields(inner(field.annotation), f"{prefix}{key}.")
    return found


def test_the_page_and_the_schemas_are_fresh():
    for path, text in config_tables.contents().items():
        assert path.read_text() == text, f"{path}: is stale; python workflow/scripts/config_tables.py writes it anew"


def test_every_key_is_described():
    for key, field in fields(WorkflowConfig).items():
        assert (field.description or "").endswith("."), key


def test_a_key_that_is_in_no_table_is_named():
    text = config_tables.README.read_text().replace("<!-- table: align -->", "<!-- table: profile -->")
    with pytest.raises(UserError, match=r"profile is in 2 tables|align is in 0 tables"):
        config_tables.page(text)


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_has_the_keys_and_defaults_of_its_section(source):
    section = getattr(DataConfig(source=source), source)
    assert section.whole() == {key: value for key, value in SOURCES[source][0].items() if key != "name"}


@pytest.mark.parametrize("preset", sorted((ROOT / "config/presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid(preset):
    over = yaml.safe_load(preset.read_text())
    merged = workflow_config.normalise(merge(DEFAULT, over))
    assert merged["data"]["source"] == over.get("data", DEFAULT["data"])["source"]
    assert set(merged["data"]) & set(SOURCES) == {merged["data"]["source"]}
    jsonschema.validate(merged, SCHEMA)


def test_normalising_twice_changes_nothing():
    once = workflow_config.normalise(DEFAULT)
    assert workflow_config.normalise(once) == once


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("seeds", "0,1,2", [0, 1, 2]),
        ("seeds", 3, [3]),
        ("seeds", "[4, 5]", [4, 5]),
        ("seeds", ["4", "5"], [4, 5]),
        ("frameworks", "jittor,torch", ["jittor", "torch"]),
        ("epochs", "3", 3),
        ("device", "cuda:1", "cuda:1"),
    ],
)
def test_text_from_the_command_line_gets_its_type(key, given, meant):
    assert workflow_config.normalise(DEFAULT | {key: given})[key] == meant


def test_nested_text_gets_its_type_and_the_rest_its_default():
    filled = workflow_config.normalise({"profile": {"steps": "4", "stock": "false"}, "margins": {"ap": "1e-1"}})
    shown = {key: filled["profile"][key] for key in ("processes", "images", "steps", "warmup", "stock", "compile")}
    assert shown == {"processes": 4, "images": 25, "steps": 4, "warmup": 3, "stock": False, "compile": False}
    assert filled["margins"] == {"ap": 0.1, "ap_relative": 0.05, "latency": 0.05}


def test_the_order_of_keys_changes_nothing():
    backwards = {key: DEFAULT[key] for key in reversed(DEFAULT)}
    backwards["evaluate"] = {"batch_size": 8, "max_detections": 100}
    assert str(workflow_config.normalise(backwards)) == str(workflow_config.normalise(DEFAULT))


def test_names_of_models_select_them_and_keep_the_section_of_the_files(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("models: {rtdetr: {variant: r18vd}}\n")
    config = workflow_config.normalise(DEFAULT | {"models": "rtdetr"}, [file])
    assert (config["selected"], config["models"]) == (["rtdetr"], {"rtdetr": {"variant": "r18vd"}})
    assert workflow_config.normalise(DEFAULT)["selected"] == models.model_names()


def test_one_framework_narrows_the_list():
    assert workflow_config.normalise(DEFAULT | {"framework": "jittor"})["frameworks"] == ["jittor"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"framework": "tensorflow"}, "framework: 'tensorflow' is not allowed, expected one of torch, jittor"),
        ({"epoch": 3}, "epoch: unknown key, expected one of align, checkpoint_minutes, continue_from"),
        ({"epochs": 0}, "epochs: 0 is not allowed, expected 1 or more"),
        ({"epochs": "three"}, "epochs: 'three' is not allowed, expected a whole number"),
        ({"epochs": True}, "epochs: True is not allowed, expected a whole number"),
        ({"seeds": "1,1"}, "seeds: [1, 1] is not allowed, expected no value twice"),
        ({"seeds": "a"}, "seeds.0: 'a' is not allowed, expected a whole number"),
        ({"device": "gpu"}, "device: 'gpu' is not allowed, expected something like auto, cpu, cuda, cuda:1"),
        ({"variant": "huge"}, "variant: 'huge' is not allowed, expected one of tiny ("),
        ({"default_model": "yolo"}, "default_model: 'yolo' is not allowed, expected one of"),
        ({"models": {"yolo": {}}}, "models.yolo: unknown model, expected one of"),
        ({"models": {"rtdetr": {"variant": "x"}}}, "models.rtdetr.variant: 'x' is not allowed, expected one of tiny"),
        ({"models": {"rtdetr": {"options": {"hiden": 1}}}}, "models.rtdetr.options.hiden: unknown key"),
        (
            {"models": {"rtdetr": {"train": {"lr": 1}}}},
            "models.rtdetr.train.lr: unknown key, expected one of accumulate",
        ),
        (
            {"models": {"rtdetr": {"train": {"optimizer": {"lr": 0}}}}},
            "models.rtdetr.train.optimizer.lr: 0 is not allowed",
        ),
        (
            {"models": {"rtdetr": {"train": {"schedule": {"gama": 1}}}}},
            "models.rtdetr.train.schedule.gama: unknown key",
        ),
        (
            {"models": {"rtdetr": {"train": {"augment": {"flipp": 1}}}}},
            "models.rtdetr: train.augment.flipp: is unknown",
        ),
        (
            {"models": {"rtdetr": {"train": {"tensorboard": "often"}}}},
            "models.rtdetr.train.tensorboard: 'often' is not allowed, expected true or false",
        ),
        ({"models": {"rtdetr": {"preprocess": {"sice": 64}}}}, "models.rtdetr.preprocess.sice: unknown key"),
        ({"models": {"rtdetr": {"groups": [{"pattern": "a", "lrr": 1}]}}}, "models.rtdetr.groups.0.lrr: unknown key"),
        (
            {"data": {"coco": {"annotations": {"tain": "a"}}}},
            "data.coco.annotations.tain: unknown key, expected one of",
        ),
        ({"data": {"archives": {"a.zip": {"sha": "0"}}}}, "data.archives.a.zip.sha: unknown key, expected one of"),
        ({"margins": {"ap": float("nan")}}, "margins.ap: nan is not allowed, expected a finite number"),
        ({"init": {"weights": "https://host/w.pth"}}, "init: sha256 is not set, but weights is"),
        ({"init": {"reset_classes": True}}, "init: weights is not set, but reset_classes is"),
        ({"models": "rtdetr,yolo"}, "models: 'yolo' is not allowed, expected one of"),
        ({"models": "rtdetr,rtdetr"}, "selected: ['rtdetr', 'rtdetr'] is not allowed, expected no value twice"),
        ({"frameworks": "torch,mxnet"}, "frameworks.1: 'mxnet' is not allowed, expected one of torch, jittor"),
        ({"threads": 0}, "threads: 0 is not allowed, expected 1 or more"),
        ({"results": "../out"}, "results: '../out' is not allowed, expected something like results, /scratch/results"),
        ({"data": "coco"}, "data: 'coco' is not allowed, expected a mapping"),
    ],
)
def test_a_mistake_is_refused_with_its_key(change, message):
    with pytest.raises(UserError) as refusal:
        workflow_config.normalise(DEFAULT | change)
    assert str(refusal.value).startswith(f"config: {message}")


def test_a_model_file_is_checked(tmp_path, monkeypatch):
    model = yaml.safe_load((ROOT / "config/models/rtdetr.yaml").read_text())
    model["train"]["epoch"] = 3
    (tmp_path / "rtdetr.yaml").write_text(yaml.safe_dump(model))
    monkeypatch.setattr(models, "MODELS", tmp_path)
    with pytest.raises(UserError, match=r"config/models/rtdetr.yaml: train.epoch: unknown key"):
        workflow_config.normalise(DEFAULT)


@pytest.mark.parametrize("wrong", ["framework=tensorflow", "epoch=3", "seeds=x"])
def test_snakemake_says_it_in_one_line_without_a_traceback(empty_project, wrong):
    run = empty_project.snakemake("-n", "--config", wrong)
    assert run.returncode == 2
    assert "Traceback" not in run.stdout
    assert [line for line in run.stdout.splitlines() if line.startswith(f"error: config: {wrong.split('=')[0]}")]
