"""From configuration files to the one dictionary that a run reads.

Three layers are merged, later ones winning: the model's file (`config/models/<model>.yaml`: common part, then the
variant), the user's `models.<model>` section, and the flat overrides (`epochs=3`). The workflow and the command line
both come through here, so that `trace`, `train` and the DAG cannot disagree about a hyper-parameter.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from parity.errors import UserError
from parity.files import digest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "config/models"
SECTIONS = ("options", "groups", "preprocess", "train")  # of a model file, of a variant, of the user's section
IDENTITY_KEYS = ["model", "variant", "options", "groups", "preprocess", "device", "threads", "precision"]
RUN_KEYS = [*IDENTITY_KEYS, "framework", "seed", "label_space", "train", "evaluate", "data", "weights"]
RUN_KEYS += ["framework_options", "workers", "log_seconds"]
MACHINE_KEYS = ("workers", "log_seconds", "checkpoint_minutes", "keep_checkpoints")  # no result depends on them
MOST_VALUES = 100_000  # in a YAML file; anchors of anchors make billions out of a few lines


def read_yaml(path: str | Path) -> Any:
    """Parse YAML without constructing anything but plain data. Raises UserError naming file and line."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}: is not valid YAML{where}: {getattr(error, 'problem', error)}") from error
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply to be a configuration") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a value that is not of the type its tag says
        raise UserError(f"{path}: is not valid YAML: {error}") from error
    pending, count = [value], 0
    while pending:
        item = pending.pop()
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        count += 1
        if count > MOST_VALUES:
            raise UserError(f"{path}: has more than {MOST_VALUES} values once its anchors are written out")
    return value


def merge(base: Any, over: Any) -> Any:
    """`over` on top of `base`: mappings merge key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merge(base.get(key), over[key]) if key in over else base[key] for key in [*base, *over]}
    return base if over is None and isinstance(base, dict) else over


def model_names() -> list[str]:
    """Names of the models that have a configuration file."""
    return sorted(path.stem for path in MODELS.glob("*.yaml"))


def variant_names(model: str) -> list[str]:
    """Names of a model's variants, in the order of its file."""
    return list(_model_file(model)["variants"])


def _model_file(model: str) -> dict:
    if model not in model_names():
        raise UserError(f"model {model!r}: expected one of {', '.join(model_names())}")
    return read_yaml(MODELS / f"{model}.yaml")


def model_config(
    model: str,
    variant: str | None = None,
    num_classes: int | None = None,
    overrides: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The resolved model: keys title, model, variant, label_space, options, groups, preprocess, train.

    `user` is a `models.<model>` section; `overrides` are single keys of `options` or `train` by name (`trace --set`).
    Raises UserError for an unknown model, variant or key.
    """
    file, user = _model_file(model), dict(user or {})
    variant = variant or user.get("variant") or file["default_variant"]
    if variant not in file["variants"]:
        raise UserError(f"variant {variant!r} of {model}: expected one of {', '.join(file['variants'])}")
    result = {key: file.get(key, [] if key == "groups" else {}) for key in SECTIONS}
    for layer in (file["variants"][variant], {key: user[key] for key in SECTIONS if key in user}):
        result = merge(result, layer)
    if num_classes is not None:
        result["options"]["num_classes"] = int(num_classes)
    for key, value in (overrides or {}).items():
        section = next((result[name] for name in ("options", "train") if key in result[name]), None)
        if section is None:
            known = sorted([*result["options"], *result["train"], "epoch"])
            raise UserError(f"option {key!r} of {model}: unknown, expected one of {', '.join(known)}")
        section[key] = value
    return {"title": file["title"], "model": model, "variant": variant, "label_space": file["label_space"], **result}


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`["epoch=10", "eval_spatial_size=[320,320]"]` to a dict; values are JSON, a bare word is a string."""
    settings = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise UserError(f"--set {pair!r}: expected key=value")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {pair!r}: the value is not valid JSON") from error
    return settings


def dataset_id(config: dict[str, Any]) -> str:
    """Folder name of the dataset: its name and a digest of how it is made."""
    return f"{config['data']['name']}-{digest(config['data'])[:8]}"


def resolve(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Everything a run of `model` needs to know, except framework, seed and paths to weights.

    `config` is the validated workflow configuration (config/config.yaml and what was laid over it).
    """
    user = merge(config.get("models", {}).get(model, {}), {})
    data = config["data"]
    classes = int(data["num_classes"])
    resolved = model_config(model, config.get("variant"), classes, user=user)
    if resolved["label_space"] == "coco_id":
        resolved["options"]["num_classes"] = int(data.get("max_category_id", classes)) + 1
    if "epochs" in config:
        resolved["train"]["epochs"] = config["epochs"]
    identity = dataset_id(config)
    return {
        **resolved,
        "evaluate": config["evaluate"],
        "data": {"id": identity, "root": f"{config.get('results', 'results')}/data/{identity}", "num_classes": classes},
        "init": config.get("init", {}),
        "device": config["device"].partition(":")[0],  # a job sees one card only, whichever it is
        "threads": config["threads"],
        "precision": "float32",
        "jittor": config["jittor"],
        "continue_from": config.get("continue_from"),
        **{key: config[key] for key in MACHINE_KEYS},
    }


def run_id(resolved: dict[str, Any], seed: int, framework: str = "torch") -> str:
    """`e<epochs>-<hash>-s<seed>`; the hash covers what the weights and their evaluation depend on, and nothing else."""
    keys = [*IDENTITY_KEYS, "label_space", "train", "init", "evaluate"]
    depends = {key: resolved[key] for key in keys} | {"data": resolved["data"]["id"]}
    depends["framework_options"] = framework_options(resolved, framework)
    if resolved["continue_from"]:
        depends["continue_from"] = resolved["continue_from"]
    return f"e{resolved['train']['epochs']}-{digest(depends)[:8]}-s{seed}"


def framework_options(resolved: dict[str, Any], framework: str) -> dict[str, Any]:
    """The section of the configuration that concerns one framework only."""
    return dict(resolved.get(framework, {}))


def weights_id(resolved: dict[str, Any]) -> str:
    """Hash of what the initial weights of a seed depend on."""
    return digest({key: resolved[key] for key in ("model", "variant", "options", "init")})[:8]


def alignment_id(resolved: dict[str, Any], align: dict[str, Any], frameworks: list[str], seed: int) -> str:
    """Hash of what the alignment ladder depends on; whether training waits for it (`gate`) is no part of it."""
    keys = [*IDENTITY_KEYS, "label_space", "train", "init", "evaluate"]
    depends = {key: resolved[key] for key in keys} | {"data": resolved["data"]["id"], "seed": seed}
    depends["align"] = {key: value for key, value in align.items() if key != "gate"}
    depends["frameworks"] = [[name, framework_options(resolved, name)] for name in frameworks]
    return digest(depends)[:8]


def profile_train(resolved: dict[str, Any]) -> dict[str, Any]:
    """The `train` section of a measurement. The time of a step does not depend on how many there are, nor on how far
    they go; clipping, averaging, augmentation and the kind of optimiser are part of it."""
    train = {key: value for key, value in resolved["train"].items() if key not in ("epochs", "eval_every", "schedule")}
    neutral = {"epochs": 1, "eval_every": 0, "schedule": {"kind": "constant"}}
    return train | neutral | {"optimizer": train["optimizer"] | {"lr": 1e-4}}


def profile_id(resolved: dict[str, Any], profile: dict[str, Any], framework: str) -> str:
    """Hash of what a profile of one framework depends on: model, input, a training step, how it is measured."""
    depends = {key: resolved[key] for key in [*IDENTITY_KEYS, "label_space", "init"]}
    depends |= {"data": resolved["data"]["id"], "train": profile_train(resolved)}
    depends["evaluate"] = {key: value for key, value in resolved["evaluate"].items() if key != "batch_size"}
    depends["profile"] = {key: value for key, value in profile.items() if key != "stock"}
    depends["framework_options"] = framework_options(resolved, framework)
    return digest(depends)[:8]


def load_run(path: str | Path) -> dict[str, Any]:
    """Read a resolved run configuration. Raises UserError naming the missing or unknown key."""
    run = read_yaml(path)
    if not isinstance(run, dict):
        raise UserError(f"{path}: expected a mapping of run keys, found {type(run).__name__}")
    missing = [key for key in RUN_KEYS if key not in run]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; it is no resolved run configuration")
    run = {"checkpoint_minutes": 10, "keep_checkpoints": 2, "continue_from": None} | run
    for key in ("seed", "threads", "workers", "keep_checkpoints"):
        if not isinstance(run[key], int) or isinstance(run[key], bool):
            raise UserError(f"{path}: {key} is {run[key]!r}, expected an integer")
    if not isinstance(run["checkpoint_minutes"], (int, float)) or not run["checkpoint_minutes"] >= 0:
        raise UserError(f"{path}: checkpoint_minutes is {run['checkpoint_minutes']!r}, expected a number from 0 on")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(run["device"])):
        raise UserError(f"{path}: device is {run['device']!r}, expected cpu, cuda or cuda:<number>")
    return run
