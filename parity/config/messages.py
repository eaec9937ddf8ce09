"""One line for a wrong configuration: `config: epochs: 0 is not allowed, expected 1 or more`."""

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from parity.config.section import Section, inner, members
from parity.errors import UserError

KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
}
WHOLE = ("together", "needed")  # they concern a section, not one value


def refusal(error: ValidationError, section: type[Section], value: Any, where: str) -> UserError:
    """`<where>: <key>: ...` for the first thing that was wrong with `value`, which was checked as `section`.

    The first one is that of the shortest path; among equally short paths, the first by name.
    """
    found = [(_path(entry["loc"], value), entry) for entry in error.errors(include_url=False)]
    path, entry = min(found, key=lambda pair: (len(pair[0]), list(map(str, pair[0]))))
    key, kind = ".".join(map(str, path)), entry["type"]
    if kind == "extra_forbidden":
        known = ", ".join(sorted(_holder(section, path[:-1]).model_fields))
        return UserError(f"{where}: {key}: unknown key, expected one of {known}")
    if kind in WHOLE:
        return UserError(f"{where}: {key}: {entry['msg']}")
    field = _field(section, path)
    if kind == "missing":
        described = f", expected: {field.description}" if field is not None and field.description else ""
        return UserError(f"{where}: {key}: is not set{described}")
    alternatives = [other for place, other in found if place == path]
    return UserError(f"{where}: {key}: {entry['input']!r} is not allowed, {_expected(alternatives, field)}")


def _path(loc: tuple[int | str, ...], value: Any) -> tuple[int | str, ...]:
    """The keys and positions of an error's place. Pydantic puts names of types between them, which are left out."""
    path: list[int | str] = []
    for number, part in enumerate(loc):
        if isinstance(value, dict):
            path.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
        elif number == 0 or isinstance(part, int):  # the value was text, and became a list when it was read
            path.append(part)
    return tuple(path)


def _holder(section: type[Section], path: tuple[int | str, ...]) -> type[Section]:
    """The section at a path."""
    for part in path:
        if part in section.model_fields:
            section = inner(section.model_fields[part].annotation) or section
    return section


def _field(section: type[Section], path: tuple[int | str, ...]) -> FieldInfo | None:
    """The field at a path. For an item of a list it is the field of the list."""
    field = None
    for part in path:
        if part in section.model_fields:
            field = section.model_fields[part]
            section = inner(field.annotation) or section
    return field


def _expected(entries: list[dict[str, Any]], field: FieldInfo | None) -> str:
    """The values that are allowed. Several entries are the alternatives of one value."""
    entry, context = entries[0], entries[0].get("ctx") or {}
    match entry["type"]:
        case "literal_error":
            return f"expected one of {', '.join(map(_text, choices(field)))}"
        case "greater_than_equal":
            return f"expected {context['ge']:g} or more"
        case "less_than_equal":
            return f"expected {context['le']:g} or less"
        case "greater_than":
            return f"expected more than {context['gt']:g}"
        case "less_than":
            return f"expected less than {context['lt']:g}"
        case "string_pattern_mismatch":
            return f"expected something like {', '.join((field and field.examples) or [context['pattern']])}"
        case "string_too_short":
            return "expected some text"
        case "too_short":
            return f"expected at least {context['min_length']} value{'s' * (context['min_length'] > 1)}"
        case "too_long":
            return f"expected at most {context['max_length']} values"
        case kind if kind in KINDS:
            names = dict.fromkeys(KINDS[other["type"]] for other in entries if other["type"] in KINDS)
            whole = field is not None and not isinstance(entry["loc"][-1], int)
            null = ["null"] if whole and NoneType in get_args(field.annotation) else []
            return "expected " + " or ".join([*names, *null])
    return entry["msg"]


def choices(field: FieldInfo | None) -> list[Any]:
    """The values that a field may have, or each item of its list."""
    found: list[Any] = []
    pending = [] if field is None else members(field.annotation)
    while pending:
        kind = pending.pop()
        if get_origin(kind) is Literal:
            found += get_args(kind)
        elif get_origin(kind) is list:
            pending += members(get_args(kind)[0])
    return found


def _text(value: Any) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
