"""The configuration of a model: its network's options, its input, its training; and its file, by variant."""

from typing import Any, Literal

from pydantic import Field

from parity.config.section import LayerSection, Section, layer
from parity.config.train import GroupConfig, TrainConfig

# Hyper-parameters of a network by name. Each model has its own, some twenty to thirty, which its file lists with their
# values; a name that is in no part of the file is refused (workflow_config.check_models). They stay a mapping, because
# the two frameworks' constructors take them as keywords and nothing else reads them.
Options = dict[str, Any]


class PreprocessConfig(Section):
    """How an image becomes the model's input."""

    kind: Literal["square", "short_side", "keep_ratio"] = Field(
        description="Way of resizing; `square` ignores the aspect ratio, `short_side` is DETR's, `keep_ratio`"
        " GFocalV2's."
    )
    size: int = Field(ge=32, description="Side length in pixels; for the other kinds that of the short side.")
    max_size: int | None = Field(None, ge=32, description="Limit of the long side, for `short_side` and `keep_ratio`.")
    pad_multiple: int | None = Field(
        None,
        ge=1,
        description="Sides of a batch are rounded up to a multiple of this, for `short_side` and `keep_ratio`.",
    )
    normalize: Literal[False, True, "bgr"] | None = Field(
        None,
        description='For `square`, false leaves values in [0, 1], true takes ImageNet\'s mean and deviation, "bgr" is'
        " NanoDet-Plus's input.",
    )


class ModelConfig(Section):
    """One variant of a model with every value."""

    model: str = Field(description="Name of the model.")
    variant: str = Field(description="Name of the variant.")
    label_space: Literal["contiguous", "coco_id"] = Field(
        description="Classes of the model's head, numbered 0, 1, ... in the order of category ids, or the category ids"
        " themselves."
    )
    options: Options = Field(
        description="Hyper-parameters of the network by name; which ones there are depends on the model."
    )
    groups: list[GroupConfig] = Field(
        description="Parameter groups of the optimiser, first match wins; the rest forms a last group with the"
        " defaults."
    )
    preprocess: PreprocessConfig = Field(description="How an image becomes the model's input.")
    train: TrainConfig = Field(description="How the model is trained.")


class Layer(LayerSection):
    """What a variant changes of the common part of its model."""

    options: Options | None = Field(None, description=ModelConfig.model_fields["options"].description)
    groups: list[GroupConfig] | None = Field(None, description=ModelConfig.model_fields["groups"].description)
    preprocess: layer(PreprocessConfig) | None = Field(None, description="How an image becomes the model's input.")
    train: layer(TrainConfig) | None = Field(None, description="How the model is trained.")


class UserModel(Layer):
    """What `models.<model>` of a configuration may change."""

    variant: str | None = Field(None, description="The variant to build.")


class ModelFile(Layer):
    """What config/models/<model>.yaml holds."""

    title: str = Field(description="The model's name in reports.")
    default_variant: str = Field(description="The variant that is built when none is named.")
    label_space: Literal["contiguous", "coco_id"] = ModelConfig.model_fields["label_space"]
    variants: dict[str, Layer] = Field(min_length=1, description="What each variant changes in the sections above.")
