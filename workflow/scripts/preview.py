"""Draw a sheet of augmented training samples with their boxes.

    python workflow/scripts/preview.py --settings '{"data": {"root": "results/data/..."}, ...}' --out preview.png

The settings are those of a run: data, label_space, preprocess, train and seed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.config.run import BatchConfig
from parity.data.preview import sheet
from parity.errors import UserError
from parity.files import atomic

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, help="The configuration as JSON.")
    parser.add_argument("--images", type=int, default=6, help="Rows: training images, drawn by the seed.")
    parser.add_argument("--epochs", type=int, default=5, help="Columns: epochs of each image.")
    parser.add_argument("--out", required=True, type=Path, help="The PNG to write.")
    args = parser.parse_args()
    try:
        drawn = sheet(BatchConfig.model_validate_json(args.settings), args.images, args.epochs)
        with atomic(args.out) as temporary:
            drawn.save(temporary, "PNG")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
