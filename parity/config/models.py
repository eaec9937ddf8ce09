"""The models: their files, and one variant of a model with every value.

Three layers are merged, later ones winning: the model's file (`config/models/<model>.yaml`: common part, then the
variant), the user's `models.<model>` section, and single keys. The workflow and the command line both come through
here, so that `trace`, `train` and the DAG cannot disagree about a hyper-parameter.
"""

from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from parity.config.layers import merge, read_yaml
from parity.config.messages import refusal
from parity.config.model import ModelConfig, ModelFile, UserModel
from parity.config.section import Plain
from parity.config.train import TrainConfig
from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "config/models"
SECTIONS = ("options", "groups", "preprocess", "train")  # of a model file, of a variant, of the user's section


NULLABLE = [key for key, field in TrainConfig.model_fields.items() if type(None) in get_args(field.annotation)]


def model_names() -> list[str]:
    """Names of the models that have a configuration file."""
    return sorted(path.stem for path in MODELS.glob("*.yaml"))


def variant_names(model: str) -> list[str]:
    """Names of a model's variants, in the order of its file."""
    return list(model_file(model).variants)


def model_file(model: str) -> ModelFile:
    """The file of a model, checked. Raises UserError for an unknown model, and for a wrong key or value in the file."""
    if model not in model_names():
        raise UserError(f"model {model!r}: expected one of {', '.join(model_names())}")
    content = read_yaml(MODELS / f"{model}.yaml")
    try:
        return ModelFile.model_validate(content)
    except ValidationError as error:
        raise refusal(error, ModelFile, content, f"config/models/{model}.yaml") from None


def model_config(
    model: str,
    variant: str | None = None,
    num_classes: int | None = None,
    overrides: Plain | None = None,
    user: UserModel | None = None,
) -> ModelConfig:
    """The resolved model.

    `user` is a `models.<model>` section; `overrides` are single keys of `options` or `train` by name (`trace --set`).
    Raises UserError for an unknown model, variant or key, and for a wrong value.
    """
    file, user = model_file(model), user or UserModel()
    variant = variant or user.variant or file.default_variant
    if variant not in file.variants:
        raise UserError(f"variant {variant!r} of {model}: expected one of {', '.join(file.variants)}")
    result: Plain = {"options": {}, "groups": [], "preprocess": {}, "train": {}}
    for layer in (file, file.variants[variant], user):
        given = {key: value for key, value in layer.plain().items() if key in SECTIONS}
        result = merge(result, given)
        # An empty section changes nothing. Where null is a value of its own (`ema: null`), it replaces the section.
        train = given.get("train") or {}
        result["train"] |= {key: None for key in NULLABLE if key in train and train[key] is None}
    if num_classes is not None:
        result["options"]["num_classes"] = int(num_classes)
    for key, value in (overrides or {}).items():
        section = next((result[name] for name in ("options", "train") if key in result[name]), None)
        if section is None:
            known = sorted([*result["options"], *result["train"], "epoch"])
            raise UserError(f"option {key!r} of {model}: unknown, expected one of {', '.join(known)}")
        section[key] = value
    result |= {"model": model, "variant": variant, "label_space": file.label_space}
    try:
        return ModelConfig.model_validate(result)
    except ValidationError as error:
        raise refusal(error, ModelConfig, result, f"{model} {variant}") from None
