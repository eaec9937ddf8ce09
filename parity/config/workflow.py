"""Everything that config/config.yaml, a --configfile laid over it and --config may hold."""

from typing import Annotated, Literal

from pydantic import Field

from parity.config.data import DataConfig
from parity.config.model import UserModel
from parity.config.run import EvaluateConfig, FrameworkName, InitConfig, JittorConfig
from parity.config.section import Section, Unique


class ProfileConfig(Section):
    """How speed and memory are measured."""

    processes: int = Field(
        4,
        ge=1,
        description="Processes of each setting, each of them one sample; nothing is concluded from fewer than 3.",
    )
    images: int = Field(
        25,
        ge=1,
        description="Latency samples of a process, one image each; images are repeated where there are too few.",
    )
    steps: int = Field(
        6,
        ge=1,
        description="Timed training steps of a process, for each of the two series (whole steps, and their split).",
    )
    warmup: int = Field(3, ge=2, description="Images and steps that run before anything is timed.")
    stock: bool = Field(True, description="Also measure Jittor with its own operators where `jittor.ops` is fast.")
    compile: bool = Field(False, description="Also measure PyTorch with `torch.compile`; `make bench` does.")
    compile_seconds: int = Field(
        300,
        ge=1,
        description="Seconds that a process may take to compile a model and measure it. After them the report says that"
        " the model was not compiled in that time.",
    )


class FiguresConfig(Section):
    """How the figures look."""

    dpi: int = Field(150, ge=50, le=600, description="Resolution of the PNG files.")
    smoothing: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the smoothed loss curve.")
    images: int = Field(4, ge=1, description="Validation images in the figure of detections.")
    score_threshold: float = Field(0.5, ge=0, le=1, description="Detections below this score are not drawn.")


class ReportConfig(Section):
    """How the report is written."""

    language: Literal["en", "zh"] = Field("en", description="Language of report.md and report.html.")


class AlignConfig(Section):
    """The check that both frameworks compute the same before anything is trained."""

    gate: bool = Field(True, description="Train only when the check passes. Turning it off is recorded in the report.")
    images: int = Field(2, ge=1, description="Validation images that are followed layer by layer.")
    steps: int = Field(
        5,
        ge=1,
        description="Steps of the run whose gradients and optimiser steps are compared; with fewer than 5 the check is"
        " incomplete.",
    )
    trajectory_steps: int = Field(
        100,
        ge=0,
        description="Steps of real training whose losses are compared, after which AP is measured with the same"
        " weights. 0 leaves both out.",
    )
    stock: bool = Field(
        True,
        description="Also compare Jittor with its own operators, where they are measured (`profile.stock`): all rungs"
        " that need no training. Training does not wait for it.",
    )


class CrossConfig(Section):
    """The same weights evaluated by both frameworks, after training."""

    images: int = Field(
        500,
        ge=1,
        description="Images that they are evaluated on where the project draws them; where it does not, they are the"
        " validation images. Changing it trains nothing again.",
    )


class MarginsConfig(Section):
    """The equivalence margins, fixed before the run."""

    ap: float = Field(1.0, gt=0, description="AP points (0 to 100) within which two frameworks count as equivalent.")
    ap_relative: float = Field(
        0.05, gt=0, description="The same as a share of the first framework's AP; the smaller of the two counts."
    )
    latency: float = Field(0.05, gt=0, description="Relative latency difference within which they count as equivalent.")


class ReproduceConfig(Section):
    """Released weights on COCO's val2017: `make reproduce` and results/zoo/report.md. Nothing is trained."""

    coco: str | None = Field(
        None, min_length=1, description="Folder with annotations/instances_val2017.json and val2017/."
    )
    images: int | None = Field(None, ge=1, description="Images of val2017, drawn by seed 0; all if absent.")
    weights: str | None = Field(
        None, min_length=1, description="Weights of the configured variant instead of the released file."
    )
    folder: str = Field("data/weights", description="Where released files lie, and are downloaded to.")


class WorkflowConfig(Section):
    """The workflow's configuration."""

    default_model: str = Field("rtdetr", description="The model whose report is built when no target is named.")
    selected: Unique[str] | None = Field(
        None,
        description="The models of `snakemake all` and its summary, every model if absent; `--config models=rtdetr`"
        " sets it.",
    )
    frameworks: Unique[FrameworkName] = Field(
        ["torch", "jittor"],
        description="The frameworks that are compared, in the order of the report's columns.",
    )
    framework: FrameworkName | None = Field(None, description="Run this framework only; wins over `frameworks`.")
    seeds: Unique[Annotated[int, Field(ge=0)]] = Field(
        [0],
        description="One run per framework and seed. `seeds=3` and `seeds=0,1,2` work with --config.",
    )
    epochs: int | None = Field(None, ge=1, description="Train this many epochs instead of the model's own number.")
    variant: str | None = Field(None, description="Build this variant instead of the model's default one.")
    device: str = Field(
        "cpu",
        pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
        examples=["auto", "cpu", "cuda", "cuda:1"],
        description="Where to train, evaluate and measure. `auto` is cuda where a GPU can be used; `cuda:1` is the"
        " second card that CUDA_VISIBLE_DEVICES allows.",
    )
    threads: int = Field(2, ge=1, description="CPU threads of a training or timing job, the same for both frameworks.")
    workers: int = Field(
        0,
        ge=0,
        description="Threads that load and augment images ahead of the training loop; 0 loads in the loop.",
    )
    log_seconds: int = Field(10, ge=1, description="Seconds between two progress lines when there is no terminal.")
    checkpoint_minutes: int = Field(
        10,
        ge=0,
        description="Minutes between two checkpoints within an epoch; 0 writes them after each epoch only.",
    )
    keep_checkpoints: int = Field(2, ge=1, description="Checkpoints of a run that are kept, the newest ones.")
    keep_states: int = Field(
        6,
        ge=0,
        description="States that PyTorch's training with the first seed keeps, spread over all of it (Jittor's where"
        " PyTorch takes no part). Both frameworks take the step after each once more, and the report compares them. A"
        " state is three times the weights on the disk. 0 leaves this out.",
    )
    continue_from: str | None = Field(
        None,
        min_length=1,
        description="Folder of a run, or one of its checkpoints, that training goes on from, in whichever framework."
        " Everything but `train.epochs` must be as it was there, and the learning rates of the steps taken too: a"
        " cosine schedule cannot be given more epochs.",
    )
    results: str = Field(
        "results",
        pattern="^/?[A-Za-z0-9_][A-Za-z0-9_./-]*[A-Za-z0-9_]$",
        examples=["results", "/scratch/results"],
        description="Where results go. The reports are then under this folder.",
    )
    jittor: JittorConfig = Field(JittorConfig(), description="What concerns Jittor only.")
    init: InitConfig = Field(
        InitConfig(),
        description="Pretrained weights laid over the seeded initialisation. Empty means trained from scratch.",
    )
    data: DataConfig = Field(DataConfig(), description="The dataset and the part of it that is used.")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="How validation is done during and after training.")
    profile: ProfileConfig = Field(ProfileConfig(), description="How speed and memory are measured.")
    figures: FiguresConfig = Field(
        FiguresConfig(),
        description="How the figures look. Changing it redraws them and retrains nothing.",
    )
    report: ReportConfig = Field(ReportConfig(), description="How the report is written. Changing it retrains nothing.")
    align: AlignConfig = Field(
        AlignConfig(),
        description="The check that both frameworks compute the same before anything is trained.",
    )
    cross: CrossConfig = Field(
        CrossConfig(), description="The same weights evaluated by both frameworks, after training."
    )
    margins: MarginsConfig = Field(MarginsConfig(), description="The equivalence margins, fixed before the run.")
    reproduce: ReproduceConfig = Field(
        ReproduceConfig(), description="Released weights on COCO's val2017, see docs/released-weights.md."
    )
    models: dict[str, UserModel] = Field(
        {}, description="Changes to config/models/<model>.yaml, laid over the chosen variant."
    )
