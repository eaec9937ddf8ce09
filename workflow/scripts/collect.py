"""Write comparison.json: which files the figures and the report of a model are made from.

    python workflow/scripts/collect.py --settings '{"model": "rtdetr", "runs": [...], ...}' --out comparison.json

The workflow names the files, this adds the commit. The keys are those that `parity.compare.comparison.load` reads.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.files import write_json
from parity.train.record import git_commit

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, help="Everything but the commit, as JSON.")
    parser.add_argument("--out", required=True, type=Path, help="The file to write.")
    args = parser.parse_args()
    try:
        write_json(args.out, json.loads(args.settings) | {"commit": git_commit()})
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
