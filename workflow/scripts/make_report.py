"""Write the tables and the report of a comparison: `<out>/tables/*.csv`, `<out>/report.md`, `<out>/report.html`.

Runs in the workflow environment after make_figures.py (the HTML page embeds `<out>/figures`), also by hand:
    python workflow/scripts/make_report.py --comparison results/rtdetr/comparison.json --out results/rtdetr
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from parity.compare.comparison import load
from parity.compare.findings import find
from parity.errors import UserError
from parity.report import report
from parity.report.tables import make_all, write_all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the tables and the report of a comparison.")
    parser.add_argument("--comparison", required=True, type=Path, help="comparison.json as written by collect.py")
    parser.add_argument("--out", required=True, type=Path, help="folder of figures/, gets tables/ and the report")
    options = parser.parse_args(arguments)
    try:
        comparison = load(options.comparison)
        findings = find(comparison)
        tables = make_all(comparison, findings)
        write_all(tables, options.out / "tables")
        written = report.write(comparison, findings, tables, options.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{findings.audit.headline}; {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
