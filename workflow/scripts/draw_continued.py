"""Draw the loss around the joint of two runs, the second of which continued the first (`continue_from`).

    python workflow/scripts/draw_continued.py --before results/rtdetr/runs/torch/<run> \\
        --after results/rtdetr/runs/jittor/<run> --out FOLDER        # FOLDER/continued.png and .svg
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.errors import UserError
from parity.report.figures.continued import continued
from parity.report.figures.style import write

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, type=Path, help="Folder of the run that was continued.")
    parser.add_argument("--after", required=True, type=Path, help="Folder of the run that continued it.")
    parser.add_argument("--out", required=True, type=Path, help="Folder of the figure.")
    args = parser.parse_args()
    try:
        write(continued(args.before, args.after), args.out, "continued", f"{args.before} · {args.after}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
