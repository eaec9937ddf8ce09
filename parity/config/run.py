"""A run with every value resolved: `RunConfig` is what run.yaml holds and what every verb of a framework reads."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from parity.config.layers import read_yaml
from parity.config.messages import refusal
from parity.config.model import ModelConfig, PreprocessConfig
from parity.config.section import Plain, Section
from parity.config.train import TrainConfig
from parity.errors import UserError

# No result depends on them.
MACHINE_KEYS = ("workers", "log_seconds", "checkpoint_minutes", "keep_checkpoints", "keep_states")

FrameworkName = Literal["torch", "jittor"]
# Options that only one framework knows: jittor's `ops`, a `dtype`.
FrameworkOptions = dict[str, Any]


class EvaluateConfig(Section):
    """How validation is done during and after training."""

    max_detections: int = Field(100, ge=1, description="Detections kept per image.")
    batch_size: int = Field(8, ge=1, description="Images per forward pass of an evaluation.")
    score_threshold: float = Field(
        0.0, ge=0, le=1, description="Detections with a lower score are not written. COCO's AP wants 0."
    )


class InitConfig(Section):
    """Pretrained weights laid over the seeded initialisation. Empty means trained from scratch."""

    weights: str | None = Field(None, min_length=1, description="Path or URL of a .pth, .safetensors or .pkl file.")
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        examples=["64 hexadecimal digits"],
        description="SHA-256 of that file; a file with another sum is refused. A URL needs it; a file's is recorded.",
    )
    part: Literal["detector", "backbone"] | None = Field(
        None, description="Whether the file holds the whole detector or its backbone."
    )
    reset_classes: bool | None = Field(
        None,
        description="Start class heads anew where the file has another number of classes, instead of refusing it.",
    )

    @model_validator(mode="after")
    def _together(self) -> "InitConfig":
        url = [("weights", "sha256")] if "://" in (self.weights or "") else []
        for given, needed in (*url, ("sha256", "weights"), ("part", "weights"), ("reset_classes", "weights")):
            if getattr(self, given) is not None and getattr(self, needed) is None:
                raise PydanticCustomError(
                    "together", "{needed} is not set, but {given} is", {"needed": needed, "given": given}
                )
        return self


class JittorConfig(Section):
    """What concerns Jittor only."""

    ops: Literal["fast", "stock"] = Field(
        "fast",
        description="Operators on the CPU; `fast` replaces the slow ones by tested equivalents, `stock` is Jittor as"
        " shipped.",
    )


class DataPlace(Section):
    """The dataset that a run reads."""

    id: str = Field(description="Name of its folder: the dataset's name and a hash of how it is made.")
    root: str = Field(description="The folder itself.")
    num_classes: int = Field(ge=1, description="Number of categories.")


class BatchConfig(Section):
    """What training batches depend on."""

    label_space: Literal["contiguous", "coco_id"] = ModelConfig.model_fields["label_space"]
    preprocess: PreprocessConfig = Field(description="How an image becomes the model's input.")
    train: TrainConfig = Field(description="How the model is trained.")
    data: DataPlace = Field(description="The dataset that is read.")
    seed: int = Field(ge=0, description="Seed of batches and augmentation.")


class RunBase(ModelConfig):
    """What every run of a model shares, whichever framework and seed."""

    evaluate: EvaluateConfig = Field(description="How validation is done during and after training.")
    data: DataPlace = Field(description="The dataset that is read.")
    device: str = Field(
        pattern=r"^(cpu|cuda(:\d+)?)$", examples=["cpu", "cuda", "cuda:1"], description="Where the run is made."
    )
    threads: int = Field(ge=1, description="CPU threads.")
    precision: Literal["float32"] = Field("float32", description="Arithmetic of the training.")
    continue_from: str | None = Field(None, description="Folder or checkpoint of the run that this one goes on from.")
    workers: int = Field(ge=0, description="Threads that load images ahead; 0 loads in the loop.")
    log_seconds: float = Field(gt=0, description="Seconds between two progress lines.")
    checkpoint_minutes: float = Field(10, ge=0, description="Minutes between checkpoints; 0: after each epoch only.")
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints that are kept.")
    keep_states: int = Field(0, ge=0, description="States that are kept, spread over the run: states.npz.")


class ResolvedConfig(RunBase):
    """A model of the workflow with everything that its runs need, but for framework, seed and weights."""

    title: str = Field(description="The model's name in reports.")
    init: InitConfig = Field(description="Pretrained weights.")
    jittor: JittorConfig = Field(description="What concerns Jittor only.")

    def framework_options(self, framework: str) -> FrameworkOptions:
        """The section that concerns one framework only."""
        return self.jittor.plain() if framework == "jittor" else {}

    def run(self, framework: str, seed: int, weights: str) -> "RunConfig":
        """The configuration of one run; `weights` is the file of its initial weights."""
        shared = {key: getattr(self, key) for key in RunBase.model_fields}
        own = {"framework": framework, "seed": seed, "weights": weights}
        return RunConfig(**shared, **own, framework_options=self.framework_options(framework))


class RunConfig(RunBase):
    """One run: one model, framework and seed. run.yaml is this as YAML."""

    framework: str = Field(description="Name of the framework.")
    seed: int = Field(ge=0, description="Seed of batches, augmentation and draws.")
    weights: str = Field(description="File of the initial weights.")
    framework_options: FrameworkOptions = Field(description="What concerns this framework only.")


def load_run(path: str | Path) -> RunConfig:
    """Read a resolved run configuration. Raises UserError naming the missing, unknown or wrong key."""
    run = read_yaml(path)
    if not isinstance(run, dict):
        raise UserError(f"{path}: expected a mapping of run keys, found {type(run).__name__}")
    missing = [key for key, field in RunConfig.model_fields.items() if field.is_required() and key not in run]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; it is no resolved run configuration")
    return checked_run(run, str(path))


def checked_run(run: Plain, where: str) -> RunConfig:
    """A run from plain data. Raises UserError that begins with `where`."""
    try:
        return RunConfig.model_validate(run)
    except ValidationError as error:
        raise refusal(error, RunConfig, run, where) from None
