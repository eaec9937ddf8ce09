"""Set models side by side: `<out>/report.md`, `report.html`, three tables and the figure of AP against latency.

Runs in the workflow environment, also by hand:
    python workflow/scripts/make_summary.py --comparison results/*/comparison.json --out results/summary
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.errors import UserError
from parity.report import summary
from parity.report.figures import pareto


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the summary over several models.")
    parser.add_argument("--comparison", required=True, nargs="+", type=Path, help="comparison.json of each model")
    parser.add_argument("--out", required=True, type=Path, help="folder that gets the summary, e.g. results/summary")
    options = parser.parse_args(arguments)
    try:
        entries = [(comparison, find(comparison, bootstrap_samples=0)) for comparison in map(load, options.comparison)]
        pareto.draw(entries, options.out / "figures")
        written = summary.write(entries, options.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(entries)} models; {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
