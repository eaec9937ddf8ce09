"""The two scripts behind the last rules, run as the rules run them."""

import json
import subprocess
import sys
from pathlib import Path

import fake_results

from parity.report.index import FIGURES, TABLES

ROOT = Path(__file__).resolve().parents[2]


def call(script: str, comparison: Path, out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "workflow/scripts" / script, "--comparison", comparison, "--out", out]
    return subprocess.run(command, capture_output=True, text=True, cwd=out)


def test_figures_then_report(tmp_path):
    path = fake_results.make(tmp_path)
    assert call("make_figures.py", path, tmp_path).returncode == 0
    done = call("make_report.py", path, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("comparable; ")
    made = {str(p.relative_to(tmp_path)) for folder in ("figures", "tables") for p in (tmp_path / folder).iterdir()}
    expected = {f"figures/{stem}.{suffix}" for stem in FIGURES for suffix in ("png", "svg")}
    assert made == expected | {f"tables/{stem}.csv" for stem in TABLES}
    assert (tmp_path / "report.md").read_text().startswith("# FakeDet")
    assert "<table>" in (tmp_path / "report.html").read_text()


def test_bad_input_is_one_line_and_status_2(tmp_path):
    broken = tmp_path / "comparison.json"
    broken.write_text(json.dumps({"model": "x"}))
    for script in ("make_figures.py", "make_report.py"):
        done = call(script, broken, tmp_path)
        assert done.returncode == 2
        assert done.stderr.strip() == f"{broken}: key 'runs' is missing"


def test_a_report_without_its_figures_names_the_first_missing_one(tmp_path):
    done = call("make_report.py", fake_results.make(tmp_path), tmp_path)
    assert done.returncode == 2
    assert "ap_curves.png: is shown in the report but cannot be read" in done.stderr
