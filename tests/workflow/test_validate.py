import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_that_is_no_run_is_named_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "workflow/scripts/validate.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path}/run.yaml" in done.stderr


def test_make_says_what_a_run_is():
    done = subprocess.run(["make", "-s", "validate", "RUN=nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "RUN=nowhere is no folder of a run" in done.stderr


def test_curves_are_drawn_from_logs_and_train_nothing():
    done = subprocess.run(["make", "-n", "curves", "MODEL=detr"], cwd=ROOT, capture_output=True, text=True)
    drawing = [line for line in done.stdout.splitlines() if "results/detr" in line]
    assert len(drawing) == 1 and "make_figures.py" in drawing[0] and "snakemake" not in drawing[0]
