"""Against the official code's numbers, through the command line, as any outside check would do it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))

from check_trace import check_variant, failures, table  # noqa: E402


def test_rtdetr_r18vd_equals_the_official_implementation(tmp_path):
    command = [sys.executable, "-m", "torch_impl"]
    rows = check_variant(ROOT / "tests/golden/rtdetr_r18vd", command, cwd=ROOT, workdir=tmp_path, full_grads=True)
    print(table(rows))
    assert len(rows) == 59 and not failures(rows), table(failures(rows))
