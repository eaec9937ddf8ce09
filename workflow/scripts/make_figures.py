"""Draw every figure of a comparison: `<out>/figures/<stem>.png` and `.svg`, stems in `parity/report/index.py`.

Runs in the workflow environment, also by hand:
    python workflow/scripts/make_figures.py --comparison results/rtdetr/comparison.json --out results/rtdetr
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.errors import UserError
from parity.report.figures.draw import draw_all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the figures of a comparison as PNG and SVG.")
    parser.add_argument("--comparison", required=True, type=Path, help="comparison.json as written by collect.py")
    parser.add_argument("--out", required=True, type=Path, help="folder that gets figures/, e.g. results/rtdetr")
    parser.add_argument("--only", nargs="*", metavar="STEM", help="draw only these figures, e.g. loss ap_curves")
    options = parser.parse_args(arguments)
    try:
        comparison = load(options.comparison)
        written = draw_all(comparison, find(comparison, bootstrap_samples=0), options.out / "figures", options.only)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(written)} files in {options.out / 'figures'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
