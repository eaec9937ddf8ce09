"""Make the dataset folder that a `data` section describes.

    python workflow/scripts/make_dataset.py --data data.yaml --out results/data/mine

`--data` is a YAML file, or the section itself as JSON. Its keys are explained in config/README.md. What is wrong with
the data, and what was done about it, stands in <out>/check.md, also where nothing else is made because of it.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.layers import read_yaml
from parity.data.build import build
from parity.errors import UserError
from parity.files import read_json


def main(data: str, out: Path) -> None:
    """Build, and compare the number of categories with the configured one; raises UserError."""
    section = yaml.safe_load(data) if data.lstrip().startswith("{") else read_yaml(data)
    source = section["source"]
    manifest = build({"name": section["name"], "source": source, **section.get(source, {})}, out)
    found = len(manifest["classes"])
    if found != section["num_classes"]:
        (out / "manifest.json").unlink()
        raise UserError(f"data.num_classes: {section['num_classes']}, but {section['name']} has {found} categories")
    for split, counts in manifest["splits"].items():
        print(f"{split}: {counts['images']} images, {counts['annotations']} annotations", file=sys.stderr)
    effects = Counter(problem["effect"] for problem in read_json(out / "check.json")["problems"])
    found = ", ".join(f"{count} times {effect}" for effect, count in effects.items()) or "no problem"
    print(f"check: {found}, see {out / 'check.md'}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="The `data` section: a YAML file or JSON text.")
    parser.add_argument("--out", required=True, type=Path, help="The dataset's folder; replaced if it exists.")
    args = parser.parse_args()
    try:
        main(args.data, args.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
