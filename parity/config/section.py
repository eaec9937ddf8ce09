"""Rules that hold for all sections of the configuration.

A key that is not known is refused, at every depth. A value must have its type: 3 is no text and "yes" is no number.
There is one exception: text in a field of another type is read as that type. Snakemake passes `--config seeds=0,1,2`
and every nested value as text, and YAML takes `1e-4` for text.
"""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

T = TypeVar("T")
Plain = dict[str, Any]  # mappings, lists, texts, numbers, true, false and null: what YAML and JSON hold


class Section(BaseModel):
    """A mapping of the configuration with known keys. It cannot be changed; `but` gives a changed copy."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        return as_meant(value, cls.model_fields[info.field_name].annotation)

    @model_serializer(mode="wrap")
    def _without_absent(self, handler) -> Plain:
        """A key that may be left out and was left out is not written."""
        fields = type(self).model_fields
        return {
            key: value for key, value in handler(self).items() if value is not None or fields[key].default is not None
        }

    def plain(self) -> Plain:
        """The section as plain mappings, lists, texts and numbers, in the order of its fields."""
        return self.model_dump(mode="json")

    def whole(self) -> Plain:
        """Like `plain`, with null for keys that were left out."""
        return {key: _plain(getattr(self, key)) for key in type(self).model_fields}

    def but(self, **changes: Any) -> Self:
        """A copy with other values, which are not checked again."""
        return self.model_copy(update=changes)


def _unique(values: list[T]) -> list[T]:
    if len({repr(value) for value in values}) < len(values):
        raise PydanticCustomError("unique", "expected no value twice")
    return values


Unique = Annotated[list[T], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_unique)]


def members(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None and without what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for member in get_args(annotation) for kind in members(member)]
    return [] if annotation is NoneType else [annotation]


def as_meant(value: Any, annotation: Any) -> Any:
    """`value` with text read as the type that is asked for. What cannot be read stays as it is."""
    kinds = members(annotation)
    origins = {get_origin(kind) or kind for kind in kinds}
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if isinstance(value, str) and str not in origins and value not in choices:
        value = _read(value, origins)
    if origins == {list} and isinstance(value, int | float | str):
        value = [value] if not isinstance(value, str) or not value.strip() else value
    if isinstance(value, list) and list in origins:
        item = next(get_args(kind)[0] for kind in kinds if get_origin(kind) is list)
        return [as_meant(entry, item) for entry in value]
    return value


def _read(text: str, origins: set) -> Any:
    """Text as YAML; a list needs no brackets. YAML takes 1e-4 for text, which `float` reads."""
    bare = origins == {list} and not text.strip().startswith("[")
    try:
        value = yaml.safe_load(f"[{text}]" if bare else text)
        return float(value) if float in origins and isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text


def inner(annotation: Any) -> type[Section] | None:
    """The section that a field holds, directly or as the values of a mapping; None for anything else."""
    for kind in members(annotation):
        if get_origin(kind) in (dict, list):
            return inner(get_args(kind)[-1])
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


class LayerSection(Section):
    """One of several layers of a section. It holds what was given and nothing else, a given null too."""

    @model_serializer(mode="plain")
    def _without_absent(self) -> Plain:
        return {key: _plain(getattr(self, key)) for key in type(self).model_fields if key in self.model_fields_set}


def _plain(value: Any) -> Any:
    """Sections in a value as plain mappings."""
    if isinstance(value, Section):
        return value.plain()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


_LAYERS: dict[type[Section], type[LayerSection]] = {}


def layer(section: type[Section]) -> type[LayerSection]:
    """The section as one of several layers: the same keys at every depth, none of them needed, none with a default."""
    if section not in _LAYERS:
        fields = {}
        for name, field in section.model_fields.items():
            free = FieldInfo.from_annotation(_layered(field.annotation))
            free.metadata = [*free.metadata, *field.metadata]
            free.default, free.description, free.examples = None, field.description, field.examples
            free.json_schema_extra = field.json_schema_extra
            fields[name] = (free.annotation, free)
        _LAYERS[section] = create_model(
            f"{section.__name__}Layer", __base__=LayerSection, __doc__=section.__doc__, **fields
        )
    return _LAYERS[section]


def _layered(annotation: Any) -> Any:
    """An annotation with the sections in it replaced by their layers; groups of a list stay whole."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return layer(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(_layered(member) for member in get_args(annotation))]  # noqa: UP007 (made at run time)
    return annotation
