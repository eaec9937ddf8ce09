"""Turn recipes into configurations of training and exam, with digests of everything that these depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parity.config import ids, models
from parity.config.data import DataConfig
from parity.config.layers import merge, read_yaml
from parity.config.messages import refusal
from parity.config.resolve import resolve
from parity.config.run import MACHINE_KEYS, DataPlace, ResolvedConfig
from parity.config.workflow import WorkflowConfig
from parity.data.build import build
from parity.errors import UserError
from parity.files import digest, read_json
from parity.sources import closure, code_digest, framework_files
from parity.study.protocol import ExamConfig, Protocol, Recipes

DIGITS = 16
# Files that decide a run's weights and scores, beside the framework's own.
STARTS = (
    "parity/train/train.py",
    "parity/train/exam.py",
    "parity/weights/initialize.py",
    "parity/weights/last_bits.py",
)


@dataclass(frozen=True)
class Recipe:
    """One start, or a pilot that changes it, with every value.

    `base` is the training of the common checkpoint, None from scratch. `identity` is a digest of all configuration.
    """

    start: str
    name: str
    run: ResolvedConfig
    data: DataConfig
    exam: DataConfig
    base: ResolvedConfig | None
    base_data: DataConfig | None
    identity: str


def recipe(config: Path, protocol: Protocol, recipes: Recipes, start: str, pilot: str, results: Path) -> Recipe:
    """The recipe of a start, changed by a pilot where `pilot` names one. `config` is the folder of config.yaml.

    Datasets lie under `results`. Raises UserError naming the key at fault.
    """
    asked = recipes.starts[start]
    change = recipes.pilots[pilot].configuration if pilot else {}
    threads = {"threads": protocol.threads}
    run, data = _resolved(config, recipes.model, [threads, asked.configuration, change], results)
    base, base_data = (None, None)
    if asked.base is not None:
        base, base_data = _resolved(config, recipes.model, [threads, asked.base], results)
    exam = _exam(data, protocol.exam)
    whole: dict[str, Any] = {"protocol": protocol.plain(), "run": _identity(run), "exam": ids.dataset_id(exam)}
    whole["base"] = _identity(base) if base else None
    return Recipe(start, pilot, run, data, exam, base, base_data, digest(whole)[:DIGITS])


def _resolved(
    config: Path, model: str, overlays: list[Mapping[str, Any]], results: Path
) -> tuple[ResolvedConfig, DataConfig]:
    given = read_yaml(config / "config.yaml") or {}
    for overlay in overlays:
        given = merge(given, overlay)
    given = given | {"results": str(results)}
    try:
        settings = WorkflowConfig.model_validate(given)
    except ValidationError as error:
        raise refusal(error, WorkflowConfig, given, f"recipe of {model}") from None
    if settings.data.subset:
        raise UserError("recipe: data.subset: is not used by studies, say the source's train_images")
    return resolve(settings, model).but(keep_states=0), settings.data  # no verb takes steps of these runs again


def _exam(data: DataConfig, exam: ExamConfig) -> DataConfig:
    """The dataset whose validation images are the exam: drawn anew, or those of a source that cannot be drawn."""
    if data.source != "synthetic":
        return data
    return data.but(synthetic=data.synthetic.but(train_images=1, val_images=exam.images, seed=exam.seed))


def _identity(run: ResolvedConfig) -> dict[str, Any]:
    """What a run's results depend on, whatever folder it lies in."""
    left_out = {*MACHINE_KEYS, "data", "title", "continue_from"}
    return {key: value for key, value in run.plain().items() if key not in left_out} | {"data": run.data.id}


def prepared(data: DataConfig, results: Path) -> tuple[DataPlace, str]:
    """(place, digest) of a dataset, which is made if it is not there."""
    identity = ids.dataset_id(data)
    folder = results / "data" / identity
    if not (folder / "manifest.json").exists():
        build({"name": data.name, "source": data.source, **data.settings.plain()}, folder)
    manifest = read_json(folder / "manifest.json")
    return DataPlace(id=identity, root=str(folder), num_classes=data.num_classes), manifest["digest"]


def code_of(root: Path, framework: str, model: str) -> str:
    """Digest of the code that trains and scores in a framework."""
    own = framework_files(root, framework, model, models.model_names())
    return code_digest(root, closure(root, [*STARTS, *own]))[:DIGITS]
