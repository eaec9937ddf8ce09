"""The study's protocol: config/study/protocol.yaml, which all models share, and one file of recipes for each model.

Both are fixed before the first counted run. Every row of a study carries a digest of them, so that a run of another
protocol cannot slip in.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from parity.config.layers import read_yaml
from parity.config.messages import refusal
from parity.config.section import Section, Unique
from parity.errors import UserError
from parity.weights.last_bits import Kind

Count = Annotated[int, Field(ge=2)]


class LastBitsConfig(Section):
    """Which initial weights have their last bits changed."""

    first: Kind = Field("none", description="In draw 0, the main arm. Both frameworks start from the same file.")
    others: Kind = Field("all", description="In draws 1, 2, ..., the null arm.")


class ExamConfig(Section):
    """The images that every run is judged on, once, with its final weights."""

    images: int = Field(2000, ge=1, description="Number of drawn images; other sources use their validation images.")
    seed: int = Field(ge=0, description="Seed of the drawn images; neither training nor validation images have it.")
    loss_images: int = Field(512, ge=1, description="The first images of the exam, on which the loss is computed too.")


class Protocol(Section):
    """What all studies share."""

    looks: Unique[Count] = Field(description="Numbers of pairs after which the test looks at the data, ascending.")
    level: float = Field(gt=0, lt=0.05, description="One-sided level of each look.")
    margin: float = Field(gt=0, description="AP points within which the frameworks count as equivalent.")
    margin_relative: float = Field(gt=0, description="The same as a share of PyTorch's AP; the smaller one counts.")
    floor: float = Field(ge=0, description="AP points that PyTorch has to reach; below, nothing is concluded.")
    first_seed: int = Field(ge=0, description="Pairs take this seed, the next one, and so on.")
    pilot_seeds: Unique[Annotated[int, Field(ge=0)]] = Field(
        description="Seeds of pilot runs, which are never counted."
    )
    base_seed: int = Field(ge=0, description="Seed of the common checkpoint's training.")
    draws: int = Field(ge=1, description="Draws of the null arm, for each seed and framework.")
    threads: int = Field(1, ge=1, description="CPU threads of each run; with one, as many runs as cores at a time.")
    last_bits: LastBitsConfig = Field(LastBitsConfig(), description="Which initial weights are changed.")
    exam: ExamConfig = Field(description="The images that runs are judged on.")

    @model_validator(mode="after")
    def _consistent(self) -> "Protocol":
        if list(self.looks) != sorted(self.looks):
            raise PydanticCustomError("needed", "expected ascending numbers of pairs in looks")
        if {*self.pilot_seeds, self.base_seed} & set(self.seeds):
            raise PydanticCustomError("needed", "pilot_seeds and base_seed must not be seeds of pairs")
        return self

    @property
    def seeds(self) -> list[int]:
        """The seeds of the pairs, in the order in which they count."""
        return list(range(self.first_seed, self.first_seed + self.looks[-1]))


class StartConfig(Section):
    """Training from scratch, or from the common checkpoint."""

    configuration: dict[str, Any] = Field(description="What is laid over config/config.yaml.")
    base: dict[str, Any] | None = Field(
        None, description="The same for the common checkpoint, which PyTorch trains once; absent: from scratch."
    )


class PilotConfig(Section):
    """A recipe that is tried with PyTorch alone."""

    start: str = Field(description="The start whose recipe is changed.")
    configuration: dict[str, Any] = Field({}, description="What is laid over that recipe.")


class Recipes(Section):
    """How one study trains."""

    model: str = Field(description="Name of the model.")
    title: str | None = Field(None, description="What the report calls the study; the model's own title if absent.")
    starts: dict[str, StartConfig] = Field(min_length=1, description="The recipes that are judged, each by itself.")
    pilots: dict[str, PilotConfig] = Field({}, description="Recipes that are tried.")

    @model_validator(mode="after")
    def _known_starts(self) -> "Recipes":
        for name, pilot in self.pilots.items():
            if pilot.start not in self.starts:
                raise PydanticCustomError("needed", "pilot {name} names an unknown start", {"name": name})
        return self


def read_protocol(folder: str | Path) -> Protocol:
    """The protocol in a folder. Raises UserError naming the file and the key at fault."""
    return _read(Path(folder) / "protocol.yaml", Protocol)


def read_recipes(folder: str | Path, name: str) -> Recipes:
    """The recipes of the study `name`. Raises UserError for an unknown study and for a wrong key or value."""
    if name not in study_names(folder):
        raise UserError(
            f"MODEL={name}: there is no study of this name, expected one of {', '.join(study_names(folder))}"
        )
    return _read(Path(folder) / f"{name}.yaml", Recipes)


def study_names(folder: str | Path) -> list[str]:
    """Studies that have a file of recipes."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml") if path.stem != "protocol")


def _read(path: Path, kind: type[Section]) -> Any:
    content = read_yaml(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise refusal(error, kind, content, str(path)) from None
