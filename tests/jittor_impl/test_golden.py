"""Against the official code's numbers, through the command line, as any outside check would do it."""

import sys
from pathlib import Path

import pytest
from check_trace import check_variant, failures, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("variant", "checks"),
    [("rtdetr_r18vd", 59), ("detr_r50", 31), ("nanodet-plus-m_320", 49), ("gfocalv2_r50_fpn", 24)],
)
def test_equals_the_official_implementation(variant, checks, tmp_path):
    command = [sys.executable, "-m", "jittor_impl"]
    rows = check_variant(ROOT / "tests/golden" / variant, command, cwd=ROOT, workdir=tmp_path, full_grads=True)
    print(table(rows))
    assert len(rows) == checks and not failures(rows), table(failures(rows))
