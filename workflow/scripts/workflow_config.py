"""The workflow's configuration: command-line strings given their types, defaults filled in, everything checked.

    python workflow/scripts/workflow_config.py [more.yaml ...]      # prints config/config.yaml with these laid over it

The types in parity/config say what each key may hold. This file checks what concerns several keys at once.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from parity.config import models  # noqa: E402
from parity.config.data import DataConfig  # noqa: E402
from parity.config.layers import merge, read_yaml  # noqa: E402
from parity.config.messages import refusal  # noqa: E402
from parity.config.workflow import WorkflowConfig  # noqa: E402
from parity.data.chains import make_augment  # noqa: E402
from parity.data.subset import pinned  # noqa: E402
from parity.data.transforms import make_preprocess  # noqa: E402
from parity.errors import UserError  # noqa: E402


def refused(key: str, value: Any, allowed: Iterable[str]) -> UserError:
    """The error for a value that is not among the allowed ones."""
    return UserError(f"config: {key}: {value!r} is not allowed, expected one of {', '.join(allowed)}")


def check_models(config: WorkflowConfig) -> None:
    """Check every model file, and what the configuration says about models, variants and their options."""
    files = {name: models.model_file(name) for name in models.model_names()}
    if config.default_model not in files:
        raise refused("default_model", config.default_model, files)
    if config.variant is not None and not any(config.variant in file.variants for file in files.values()):
        raise refused(
            "variant", config.variant, [f"{v} ({name})" for name, file in files.items() for v in file.variants]
        )
    for name in config.selected or []:
        if name not in files:
            raise refused("models", name, files)
    for name, user in config.models.items():
        if name not in files:
            raise UserError(f"config: models.{name}: unknown model, expected one of {', '.join(files)}")
        variants = files[name].variants
        if user.variant is not None and user.variant not in variants:
            raise refused(f"models.{name}.variant", user.variant, variants)
        known = sorted(set().union(*(layer.options or {} for layer in [files[name], *variants.values()])))
        for key in user.options or {}:
            if key not in known:
                where = f"models.{name}.options.{key}"
                raise UserError(f"config: {where}: unknown key, expected one of {', '.join(known)}")
        try:
            whole = models.model_config(name, config.variant if config.variant in variants else None, user=user)
            make_preprocess(whole.preprocess.plain())
            make_augment(whole.train.augment)
        except UserError as error:
            raise UserError(f"config: models.{name}: {error}") from None


def named_models(given: dict[str, Any], files: Iterable[str | Path]) -> dict[str, Any]:
    """Turn `--config models=rtdetr,nanodet` into the key `selected`.

    On the command line the names replaced the section `models`, so the section is read again from the files it came
    from.
    """
    if isinstance(given.get("models", {}), dict):
        return given
    sections: dict[str, Any] = {}
    for file in [ROOT / "config/config.yaml", *files]:
        sections = merge(sections, (read_yaml(file) or {}).get("models") or {})
    return given | {"selected": given["models"], "models": sections}


def one_subset(data: DataConfig) -> DataConfig:
    """The `data` section with `subset` as the number of training images, and files of ids pinned to their content.

    So the same dataset has the same name, however it was asked for.
    """
    if data.subset and len(data.subset) > 1:
        raise UserError(f"config: data.subset: {data.subset} are several sizes, expected one, or make sweep")
    changes: dict[str, Any] = {"train_images": data.subset[0]} if data.subset else {}
    for key in ("train_ids", "val_ids"):
        if isinstance(getattr(data.settings, key, None), str):
            changes[key] = pinned(getattr(data.settings, key))
    return data.but(**{"subset": None, data.source: data.settings.but(**changes)})


def load(config: dict[str, Any], files: Iterable[str | Path] = ()) -> WorkflowConfig:
    """The configuration that rules work with: typed, filled, checked; narrowed to `framework`.

    `files` are the configuration files that were laid over config/config.yaml. Applying it to its own result changes
    nothing. Raises UserError naming the offending key and what is allowed.
    """
    given = named_models({key: value for key, value in config.items() if value is not None}, files)
    given.setdefault("selected", models.model_names())
    try:
        loaded = WorkflowConfig.model_validate(given)
    except ValidationError as error:
        raise refusal(error, WorkflowConfig, given, "config") from None
    check_models(loaded)
    frameworks = [loaded.framework] if loaded.framework else loaded.frameworks
    return loaded.but(data=one_subset(loaded.data), frameworks=frameworks)


def normalise(config: dict[str, Any], files: Iterable[str | Path] = ()) -> dict[str, Any]:
    """`load` as plain data: equal configurations give the same keys in the same order.

    Rules hand sections on as text, and another text would run them again. Only the section of the data's source is in
    it.
    """
    return load(config, files).plain()


if __name__ == "__main__":
    try:
        merged: dict = {}
        for file in [ROOT / "config/config.yaml", *sys.argv[1:]]:
            merged = merge(merged, read_yaml(file) or {})
        print(yaml.safe_dump(normalise(merged), sort_keys=False), end="")
    except UserError as problem:
        sys.exit(f"error: {problem}")
