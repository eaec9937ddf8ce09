"""Evaluate a file of detections with pycocotools and write coco.json.

python workflow/scripts/evaluate.py --annotations val.json --detections detections.json --out coco.json
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.files import write_json
from parity.train.evaluate import evaluate

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", required=True, help="Ground truth in COCO format.")
    parser.add_argument("--detections", required=True, help="Detections in COCO results format.")
    parser.add_argument("--out", required=True, help="The file to write.")
    args = parser.parse_args()
    try:
        write_json(args.out, evaluate(args.annotations, args.detections))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
