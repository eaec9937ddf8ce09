"""Names of datasets, weights, runs, alignments and measurements: hashes of what their content depends on.

Two configurations with the same result have the same name, so an earlier result is found again. A key that changes a
result must be part of the name; any other key must not.
"""

from typing import get_args

from parity.config.data import DataConfig
from parity.config.run import FrameworkName, ResolvedConfig
from parity.config.section import Plain
from parity.config.train import ScheduleConfig, TrainConfig
from parity.config.workflow import AlignConfig, ProfileConfig
from parity.files import digest

IDENTITY_KEYS = ("model", "variant", "options", "groups", "preprocess", "device", "threads", "precision")
PROFILE_COLUMNS = {"stock", "compile", "compile_seconds"}  # keys of what else is measured, after the frameworks
FETCHING = {"download", "archives"}  # how the data was fetched is not part of its identity


def _parts(resolved: ResolvedConfig, *more: str) -> Plain:
    """The keys that everything depends on, and others, as plain data; the dataset by its id."""
    plain = resolved.plain()
    return {key: plain[key] for key in (*IDENTITY_KEYS, "label_space", *more)} | {"data": resolved.data.id}


def dataset_id(data: DataConfig) -> str:
    """Folder name of the dataset: its name and a digest of how it is made."""
    made_from = {key: value for key, value in data.plain().items() if key not in FETCHING}
    return f"{data.name}-{digest(made_from)[:8]}"


def weights_id(resolved: ResolvedConfig) -> str:
    """Hash of what the initial weights of a seed depend on."""
    plain = resolved.plain()
    return digest({key: plain[key] for key in ("model", "variant", "options", "init")})[:8]


def run_id(resolved: ResolvedConfig, seed: int, framework: str = "torch") -> str:
    """`e<epochs>-<hash>-s<seed>`; the hash covers what the weights and their evaluation depend on, and nothing else."""
    depends = _parts(resolved, "train", "init", "evaluate")
    depends["framework_options"] = resolved.framework_options(framework)
    if resolved.continue_from:
        depends["continue_from"] = resolved.continue_from
    return f"e{resolved.train.epochs}-{digest(depends)[:8]}-s{seed}"


def alignment_id(resolved: ResolvedConfig, align: AlignConfig, frameworks: list[str], seed: int) -> str:
    """Hash of what the alignment ladder depends on.

    Two keys are left out: `gate` (whether training waits for the verdict) and `stock` (another comparison, beside the
    one of the frameworks).
    """
    depends = _parts(resolved, "train", "init", "evaluate") | {"seed": seed}
    depends["align"] = {key: value for key, value in align.plain().items() if key not in ("gate", "stock")}
    depends["frameworks"] = [[name, resolved.framework_options(name)] for name in frameworks]
    return digest(depends)[:8]


def profile_train(resolved: ResolvedConfig) -> TrainConfig:
    """The `train` section of a measurement.

    The time of a step depends on clipping, averaging, augmentation and the kind of optimiser. It does not depend on the
    number of steps nor on the learning rates, so these are set to fixed values.
    """
    neutral = {"epochs": 1, "eval_every": 0, "evaluate_first": None, "schedule": ScheduleConfig(kind="constant")}
    return resolved.train.but(**neutral, optimizer=resolved.train.optimizer.but(lr=1e-4))


def profile_id(resolved: ResolvedConfig, profile: ProfileConfig) -> str:
    """Hash of what a measurement depends on: model, input, a training step, how it is measured.

    The frameworks take turns, so their measurements belong together: they have one name, which covers the options of
    both.
    """
    depends = _parts(resolved, "init") | {"train": profile_train(resolved).plain()}
    depends["evaluate"] = {key: value for key, value in resolved.evaluate.plain().items() if key != "batch_size"}
    depends["profile"] = {key: value for key, value in profile.plain().items() if key not in PROFILE_COLUMNS}
    depends["framework_options"] = {name: resolved.framework_options(name) for name in get_args(FrameworkName)}
    return digest(depends)[:8]
