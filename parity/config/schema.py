"""JSON schemas of the configuration, made from its types, for Snakemake and for editors."""

from typing import Any

import yaml

from parity.config.model import ModelFile
from parity.config.section import Plain, Section
from parity.config.workflow import WorkflowConfig

SCHEMAS: dict[str, type[Section]] = {"config.schema.yaml": WorkflowConfig, "model.schema.yaml": ModelFile}
HEADER = "# Made from parity/config by workflow/scripts/config_tables.py; change it there.\n"


def json_schema(section: type[Section]) -> Plain:
    """The schema of a section. A key that is absent by default has no default there."""
    schema = section.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_titles(schema)}


def schema_text(name: str) -> str:
    """The content of a file in workflow/schemas."""
    return HEADER + yaml.safe_dump(json_schema(SCHEMAS[name]), sort_keys=False, allow_unicode=True, width=120)


def _without_titles(node: Any, names: bool = False) -> Any:
    """A schema without Pydantic's titles, which repeat the key, and without `default: null`.

    `names` says that the keys of `node` are names of fields or sections.
    """
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    dropped = [key for key in node if not names and (key == "title" or (key == "default" and node[key] is None))]
    return {
        key: item
        if key == "default" and not names
        else _without_titles(item, not names and key in ("properties", "$defs"))
        for key, item in node.items()
        if key not in dropped
    }
