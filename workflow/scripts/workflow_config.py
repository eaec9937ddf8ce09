"""The workflow's configuration: command-line strings given their types, defaults filled in, everything checked.

    python workflow/scripts/workflow_config.py [more.yaml ...]      # prints config/config.yaml with these laid over it

Snakemake passes `--config seeds=0,1,2` and every nested value as a string. The schema knows what was meant: where it
allows no string, the text is read as YAML, and a lone value becomes a list where a list is expected.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from parity.config import settings as parity_config  # noqa: E402
from parity.data.subset import pinned  # noqa: E402
from parity.errors import UserError  # noqa: E402

SCHEMAS = ROOT / "workflow/schemas"


def load_schema(name: str) -> dict[str, Any]:
    """A schema of workflow/schemas with every `$ref` replaced by what it refers to."""
    files = {path.name: parity_config.read_yaml(path) for path in SCHEMAS.glob("*.yaml")}

    def expand(node: Any, file: str) -> Any:
        if isinstance(node, list):
            return [expand(item, file) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target, _, pointer = node["$ref"].partition("#/")
            file = target or file
            node = files[file]
            for part in pointer.split("/"):
                node = node[part]
            return expand(node, file)
        return {key: expand(value, file) for key, value in node.items()}

    return expand(files[name], name)


def typed(value: Any, schema: dict[str, Any]) -> Any:
    """`value` with strings read as the type that the schema asks for; what cannot be read stays as it is."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if isinstance(value, str) and ("enum" in schema or (types and "string" not in types)):
        text = f"[{value}]" if types == ["array"] and not value.strip().startswith("[") else value
        try:
            value = yaml.safe_load(text)
            value = float(value) if "number" in types and isinstance(value, str) else value  # YAML's 1e-4 is text
        except (yaml.YAMLError, ValueError):
            return value
    if types == ["array"] and isinstance(value, int | float):
        value = [value]
    if "array" in types and isinstance(value, list):
        return [typed(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        rest = schema.get("additionalProperties")
        rest = rest if isinstance(rest, dict) else {}
        return {key: typed(item, schema.get("properties", {}).get(key, rest)) for key, item in value.items()}
    if "enum" in schema and not isinstance(value, str):
        return str(value).lower() if str(value).lower() in schema["enum"] else value
    return value


def fill(value: Any, schema: dict[str, Any]) -> Any:
    """`value` with the schema's defaults where a key is absent, in the schema's order; `value` itself is not changed.

    One order for every way of saying the same, because rules hand sections on as text, and other text runs them again.
    """
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    present = {
        key: value[key] if key in value else sub["default"]
        for key, sub in known.items()
        if key in value or "default" in sub
    }
    rest = {key: item for key, item in value.items() if key not in known}
    return {key: fill(item, known[key]) for key, item in present.items()} | rest


def expected(error: jsonschema.ValidationError) -> str:
    """What the schema wanted at the place of an error, in words."""
    match error.validator, error.validator_value:
        case "additionalProperties", _:
            return f"expected one of {', '.join(sorted(error.schema.get('properties', {})))}"
        case "enum", allowed:
            return f"expected one of {', '.join(map(str, allowed))}"
        case "type", kind:
            kinds = [kind] if isinstance(kind, str) else kind
            names = {"object": "a mapping", "array": "a list", "integer": "a whole number", "null": "null"}
            return "expected " + " or ".join(names.get(k, f"a {k}") for k in kinds)
        case "minimum", limit:
            return f"expected {limit} or more"
        case "maximum", limit:
            return f"expected {limit} or less"
        case "exclusiveMinimum", limit:
            return f"expected more than {limit}"
        case "exclusiveMaximum", limit:
            return f"expected less than {limit}"
        case "pattern", pattern:
            return f"expected something like {', '.join(error.schema.get('examples', [pattern]))}"
        case "uniqueItems", _:
            return "expected no value twice"
        case "minItems", n:
            return f"expected at least {n} values"
    return error.message


def check(value: Any, schema: dict[str, Any], where: str) -> None:
    """Raise UserError `<where>: <key>: <value>: expected ...` for the first thing that the schema refuses."""
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    error = min(errors, key=lambda e: (len(e.absolute_path), list(map(str, e.absolute_path))), default=None)
    if error is None:
        return
    key = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema.get("properties", {})))[0]
        key = f"{key}.{unknown}" if key else unknown
        raise UserError(f"{where}: {key}: unknown key, {expected(error)}")
    if error.validator in ("required", "dependentRequired"):
        raise UserError(f"{where}: {key or 'top level'}: {error.message}")
    raise UserError(f"{where}: {key}: {error.instance!r} is not allowed, {expected(error)}")


def refused(key: str, value: Any, allowed: list[str]) -> UserError:
    """The error for a value that is not among the allowed ones."""
    return UserError(f"config: {key}: {value!r} is not allowed, expected one of {', '.join(allowed)}")


def check_models(config: dict[str, Any]) -> None:
    """Check every model file, and what the configuration says about models, variants and their options."""
    names = parity_config.model_names()
    schema = load_schema("model.schema.yaml")
    files = {name: parity_config.read_yaml(parity_config.MODELS / f"{name}.yaml") for name in names}
    for name, file in files.items():
        check(file, schema, f"config/models/{name}.yaml")
    if config["default_model"] not in names:
        raise refused("default_model", config["default_model"], names)
    if "variant" in config and not any(config["variant"] in file["variants"] for file in files.values()):
        known = [f"{variant} ({name})" for name, file in files.items() for variant in file["variants"]]
        raise refused("variant", config["variant"], known)
    for name in config["selected"]:
        if name not in names:
            raise refused("models", name, names)
    for name, user in config["models"].items():
        if name not in names:
            raise UserError(f"config: models.{name}: unknown model, expected one of {', '.join(names)}")
        variants = files[name]["variants"]
        if user.get("variant", files[name]["default_variant"]) not in variants:
            raise refused(f"models.{name}.variant", user["variant"], list(variants))
        for section in ("options", "preprocess"):
            layers = [files[name], *variants.values()]
            known = sorted(set().union(*(layer.get(section) or {} for layer in layers)))
            for key in user.get(section, {}):
                if key not in known:
                    where = f"models.{name}.{section}.{key}"
                    raise UserError(f"config: {where}: unknown key, expected one of {', '.join(known)}")


def named_models(given: dict[str, Any], files: Iterable[str | Path]) -> dict[str, Any]:
    """`--config models=rtdetr,nanodet` names models and replaced the section of the same name: the names become
    `selected`, and the section is read again from the files it came from."""
    if isinstance(given.get("models", {}), dict):
        return given
    sections: dict[str, Any] = {}
    for file in [ROOT / "config/config.yaml", *files]:
        sections = parity_config.merge(sections, (parity_config.read_yaml(file) or {}).get("models") or {})
    return given | {"selected": given["models"], "models": sections}


def subset(data: dict[str, Any]) -> dict[str, Any]:
    """The `data` section with its one `subset` as the number of training images, and files of ids pinned to their
    content: however a dataset was asked for, the same one has the same name."""
    sizes, source = data.get("subset"), data["source"]
    if sizes and len(sizes) > 1:
        raise UserError(f"config: data.subset: {sizes} are several sizes, expected one, or make sweep")
    settings = data[source] | ({"train_images": sizes[0]} if sizes else {})
    for key in ("train_ids", "val_ids"):
        if isinstance(settings.get(key), str):
            settings[key] = pinned(settings[key])
    return {key: value for key, value in data.items() if key != "subset"} | {source: settings}


def normalise(config: dict[str, Any], files: Iterable[str | Path] = ()) -> dict[str, Any]:
    """The configuration that rules work with: typed, filled, checked; narrowed to `framework` and to the data's source.

    `files` are the configuration files that were laid over config/config.yaml. Applying it twice changes nothing.
    Raises UserError naming the offending key and what is allowed.
    """
    schema = load_schema("config.schema.yaml")
    given = named_models({key: value for key, value in config.items() if value is not None}, files)
    given.setdefault("selected", parity_config.model_names())
    filled = fill(typed(given, schema), schema)
    check(filled, schema, "config")
    check_models(filled)
    sources = schema["properties"]["data"]["properties"]["source"]["enum"]
    unused = set(sources) - {filled["data"]["source"]}
    filled["data"] = {key: value for key, value in filled["data"].items() if key not in unused}
    filled["data"] = subset(filled["data"])
    if "framework" in filled:
        filled["frameworks"] = [filled["framework"]]
    return filled


if __name__ == "__main__":
    try:
        merged: dict = {}
        for file in [ROOT / "config/config.yaml", *sys.argv[1:]]:
            merged = parity_config.merge(merged, parity_config.read_yaml(file) or {})
        print(yaml.safe_dump(normalise(merged), sort_keys=False), end="")
    except UserError as problem:
        sys.exit(f"error: {problem}")
