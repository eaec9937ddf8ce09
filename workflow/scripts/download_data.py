"""Fetch the missing files of COCO 2017 or Pascal VOC from their official place.

    python workflow/scripts/download_data.py --data data.yaml

`--data` is a `data` section (config/README.md) as a YAML file or as JSON text: its source is coco or voc, and the
source's `root` is where the files go. Existing files are left alone; a download that broke off goes on.
"""

import argparse
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.layers import read_yaml
from parity.data.official import provide
from parity.errors import UserError


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="The `data` section: a YAML file or JSON text.")
    given = parser.parse_args().data
    try:
        provide(yaml.safe_load(given) if given.lstrip().startswith("{") else read_yaml(given), say)
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
