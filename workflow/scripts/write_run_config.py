"""Write a run's resolved configuration, run.yaml, which every command of a framework reads.

    python workflow/scripts/write_run_config.py --settings '{"model": "rtdetr", ...}' --out run.yaml

The file is read back the way the commands do, so that a run cannot start from one that lacks a key.
"""

import argparse
import json
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.run import MACHINE_KEYS, load_run
from parity.errors import UserError
from parity.files import write_text

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, help="The configuration as JSON.")
    parser.add_argument(
        "--workers", type=int, default=0, help="Processes that load images ahead; no result depends on it."
    )
    parser.add_argument("--log-seconds", type=float, default=10, help="Seconds between progress lines.")
    parser.add_argument("--checkpoint-minutes", type=float, default=10, help="Minutes between checkpoints; 0: epochs.")
    parser.add_argument("--keep-checkpoints", type=int, default=2, help="Checkpoints that are kept.")
    parser.add_argument("--keep-states", type=int, default=0, help="States that are kept, spread over the run.")
    parser.add_argument("--tensorboard", type=int, choices=(0, 1), default=0, help="1: write TensorBoard events too.")
    parser.add_argument("--out", required=True, type=Path, help="The file to write.")
    args = parser.parse_args()
    settings = json.loads(args.settings) | {key: getattr(args, key) for key in MACHINE_KEYS}
    if args.tensorboard:
        settings["train"]["tensorboard"] = True
    try:
        write_text(args.out, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        load_run(args.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
