"""How a model is trained: the sections `train` and `groups`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from parity.config.section import Section

Settings = dict[str, Any]  # the settings of one kind of augmentation, by name: parity.data.chains checks them


class OptimizerConfig(Section):
    """Optimiser and its settings."""

    kind: Literal["AdamW", "SGD"] = Field(description="Which optimiser.")
    lr: float = Field(gt=0, description="Learning rate of every group that names none.")
    weight_decay: float = Field(ge=0, description="Weight decay of every group that names none.")
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="AdamW's two averaging factors."
    )
    eps: float | None = Field(None, gt=0, description="AdamW's epsilon.")
    momentum: float | None = Field(None, ge=0, description="SGD's momentum.")


class ScheduleConfig(Section):
    """Learning rate over time."""

    kind: Literal["constant", "multistep", "cosine"] = Field(description="Shape of the schedule.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    warmup_factor: float = Field(
        0.0, ge=0, le=1, description="Fraction of the learning rate at the first step of the warm-up."
    )
    warmup_alone: bool = Field(
        False,
        description="Warm up in place of the schedule, up to and including the step that reaches the full rate, instead"
        " of times it.",
    )
    milestones: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="Epochs after which `multistep` multiplies by gamma."
    )
    gamma: float | None = Field(None, gt=0, description="Factor of `multistep`.")
    per: Literal["step", "epoch"] = Field("step", description="How often `cosine` falls; `step` if absent.")
    final_factor: float | None = Field(
        None, ge=0, le=1, description="Fraction of the learning rate at the end of `cosine`."
    )

    @model_validator(mode="after")
    def _complete(self) -> "ScheduleConfig":
        needed = {"constant": (), "multistep": ("milestones", "gamma"), "cosine": ("final_factor",)}[self.kind]
        for key in needed:
            if getattr(self, key) is None:
                raise PydanticCustomError("needed", "needs {key} for kind {kind}", {"key": key, "kind": self.kind})
        return self


class EmaConfig(Section):
    """Exponential moving average of the weights."""

    decay: float = Field(ge=0, lt=1, description="Weight of the past once warmed up.")
    warmups: float = Field(ge=0, description="Steps over which the decay grows to its value.")
    offset: int = Field(
        0, ge=0, description="Steps that count as done before the first one when the decay grows; 0 if absent."
    )
    integers: bool = Field(
        False,
        description="Average integer entries (counted batches) too, cut to whole numbers; otherwise they keep their"
        " first value.",
    )


class TrainConfig(Section):
    """How the model is trained."""

    epochs: int = Field(ge=1, description="Passes over the training images.")
    batch_size: int = Field(ge=1, description="Images per step.")
    accumulate: int = Field(ge=1, description="Steps whose gradients are added up before the weights change.")
    clip_norm: float | None = Field(gt=0, description="Largest global norm of the gradient; null does not clip.")
    optimizer: OptimizerConfig = Field(description="Optimiser and its settings.")
    schedule: ScheduleConfig = Field(description="Learning rate over time.")
    ema: EmaConfig | None = Field(description="Exponential moving average of the weights; null keeps none.")
    evaluate_with_ema: bool = Field(description="Validate the averaged weights instead of the current ones.")
    multi_scale: list[Annotated[int, Field(ge=32)]] = Field(
        description="Side lengths among which each batch draws one; empty keeps the size."
    )
    augment: Settings = Field(
        description="Random transforms, by `kind` (rtdetr, detr, gfocalv2 or nanodet) and that chain's settings."
    )
    eval_every: int = Field(
        ge=0,
        description="Epochs between two validations; 0 validates only after the last epoch, which is always validated.",
    )

    evaluate_first: bool | None = Field(
        None, description="Validate the initial weights too, as epoch 0: what fine-tuning has to improve on."
    )
    # No result depends on it. So `plain`, which names and digests are made from, leaves it out.
    tensorboard: bool = Field(
        False,
        exclude=True,
        description="Write the run's log and a picture of each validation as TensorBoard events too, into its folder"
        " tensorboard/. It changes nothing else and trains nothing again.",
    )

    @property
    def judged_by_ema(self) -> bool:
        """Whether the averaged weights are validated, and are the final ones."""
        return self.ema is not None and self.evaluate_with_ema


class GroupConfig(Section):
    """A parameter group of the optimiser."""

    pattern: str = Field(description="Regular expression searched in the parameter's name.")
    lr: float | None = Field(None, ge=0, description="Learning rate of the group.")
    weight_decay: float | None = Field(None, ge=0, description="Weight decay of the group.")
