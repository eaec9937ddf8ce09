"""Write the files that are made from the types in parity/config: the tables of config/README.md and the schemas.

    python workflow/scripts/config_tables.py            # writes them
    python workflow/scripts/config_tables.py --check    # only says which of them is stale

In the page a table stands between two comments, `<!-- table: data -->` and `<!-- end -->`; the first names the keys of
config/config.yaml whose rows it has, a section with all its keys.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import get_origin

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pydantic.fields import FieldInfo

from parity.config.messages import choices
from parity.config.models import ROOT
from parity.config.schema import SCHEMAS, schema_text
from parity.config.section import Section, inner, members
from parity.config.workflow import WorkflowConfig
from parity.errors import UserError
from parity.files import write_text

README = ROOT / "config/README.md"
TABLE = re.compile(r"(<!-- table: (?P<keys>[a-z_ ]+) -->\n).*?(<!-- end -->)", re.S)
HEAD = "\n| key | default | meaning |\n|---|---|---|\n"


def rows(name: str, field: FieldInfo) -> list[str]:
    """The table's rows of a key, and of the keys of the section that it holds."""
    section = inner(field.annotation)
    lines = [f"| `{name}` | {default(field, section)} | {meaning(field)} |"]
    if section is None or any(get_origin(kind) is list for kind in members(field.annotation)):
        return lines
    named = any(get_origin(kind) is dict for kind in members(field.annotation))
    place = f"{name}.<{name.rpartition('.')[2].removesuffix('s')}>" if named else name
    return lines + [row for key, sub in section.model_fields.items() for row in rows(f"{place}.{key}", sub)]


def default(field: FieldInfo, section: type[Section] | None) -> str:
    """The default as JSON; empty for a section, whose keys have theirs, and for a key that is absent by default."""
    if field.is_required() or field.default is None or section is not None:
        return ""
    return f"`{json.dumps(field.default)}`"


def meaning(field: FieldInfo) -> str:
    """The description, and the values where they are few; the description names them itself if one is no text."""
    allowed = choices(field)
    names = allowed and all(isinstance(value, str) for value in allowed)
    return field.description + (f" One of {', '.join(f'`{value}`' for value in allowed)}." if names else "")


def page(text: str) -> str:
    """The page with every table made anew. Raises UserError when a key is in no table, or in two."""
    fields, placed = WorkflowConfig.model_fields, []

    def table(match: re.Match) -> str:
        keys = match["keys"].split()
        placed.extend(keys)
        unknown = [key for key in keys if key not in fields]
        if unknown:
            raise UserError(f"{README}: table {match['keys']}: {unknown[0]} is no key of the configuration")
        lines = [row for key in keys for row in rows(key, fields[key])]
        return f"{match[1]}{HEAD}{chr(10).join(lines)}\n\n{match[3]}"

    made = TABLE.sub(table, text)
    for key in fields:
        if placed.count(key) != 1:
            raise UserError(f"{README}: {key} is in {placed.count(key)} tables, expected one")
    return made


def contents() -> dict[Path, str]:
    """Every file that is made from the types, as it should be."""
    schemas = {ROOT / "workflow/schemas" / name: schema_text(name) for name in SCHEMAS}
    return {README: page(README.read_text(encoding="utf-8")), **schemas}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; fail when a file is stale.")
    check = parser.parse_args().check
    try:
        wanted = contents()
    except UserError as error:
        sys.exit(f"error: {error}")
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is stale' if check else 'written'}")
        if not check:
            write_text(path, wanted[path])
    sys.exit(1 if check and stale else 0)
