"""Make the dataset folder that a `data` section describes.

    python workflow/scripts/make_dataset.py --data data.yaml --out results/data/mine

`--data` is a YAML file, or the section itself as JSON. Its keys are explained in config/README.md. The problems
of the data, and what was done about them, are listed in <out>/check.md, even where they prevent the dataset.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.layers import read_yaml
from parity.data.build import build
from parity.data.freshness import FIRST
from parity.errors import UserError
from parity.files import read_json

SHOWN = 20  # classes that a message names


def main(data: str, out: Path, answers: str = FIRST) -> None:
    """Build, and compare the number of categories with the configured one; raises UserError."""
    section = yaml.safe_load(data) if data.lstrip().startswith("{") else read_yaml(data)
    source = section["source"]
    manifest = build({"name": section["name"], "source": source, **section.get(source, {})}, out, answers)
    try:
        check_classes(section, manifest)
    except UserError:
        (out / "manifest.json").unlink()
        raise
    for split, counts in manifest["splits"].items():
        print(f"{split}: {counts['images']} images, {counts['annotations']} annotations", file=sys.stderr)
    effects = Counter(problem["effect"] for problem in read_json(out / "check.json")["problems"])
    found = ", ".join(f"{count} times {effect}" for effect, count in effects.items()) or "no problem"
    print(f"check: {found}, see {out / 'check.md'}", file=sys.stderr)


def check_classes(section: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Compare the classes of a dataset with the `data` section; raises UserError naming the key and the classes."""
    classes, name = manifest["classes"], section["name"]
    if len(classes) != section["num_classes"]:
        shown = ", ".join(entry["name"] for entry in classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
        splits = manifest["splits"].values()
        unused = [e["name"] for e in classes if not any(split["counts"].get(e["name"]) for split in splits)]
        parts = ", ".join(unused[:SHOWN]) + (", ..." if len(unused) > SHOWN else "")
        hint = f"; no object is a {parts}: take it out of the source's classes, or count it" if unused else ""
        raise UserError(
            f"data.num_classes: {section['num_classes']}, but {name} has {len(classes)} categories: {shown}{hint}"
        )
    largest = max(classes, key=lambda entry: entry["id"])
    most = section.get("max_category_id")
    if most is not None and largest["id"] > most:
        raise UserError(f"data.max_category_id: {most}, but the class {largest['name']} has the id {largest['id']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="The `data` section: a YAML file or JSON text.")
    parser.add_argument("--answers", default=FIRST, help="What parity.data.freshness asked for; kept with the dataset.")
    parser.add_argument("--out", required=True, type=Path, help="The dataset's folder; replaced if it exists.")
    args = parser.parse_args()
    try:
        main(args.data, args.out, args.answers)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
