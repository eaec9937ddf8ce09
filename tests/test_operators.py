"""How a kernel of Jittor's is named in the table of operators."""

from pathlib import Path

import operators
import pytest

OPS = Path(__file__).resolve().parents[1] / "jittor_impl/ops"


def source_of(name: str) -> str:
    """A kernel's key with the first C++ source of a file of ours."""
    text = (OPS / name).read_text(encoding="utf-8").partition('SOURCE = """')[2].partition('"""')[0]
    assert text.count("\n") > 5
    return f"code«IN_SIZE:2«HEADER:#include <cmath>«CODE:{text}«JIT:1"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (source_of("conv.py"), "ops/conv.py"),
        ("code«IN_SIZE:1«CODE:\nfor (int elsewhere = 0; elsewhere < 3; elsewhere++) {\n}\n", "Jittor's own source"),
        (
            "«opkey0:broadcast_to«opkey1:binary«Tx:float32«opkey2:broadcast_to«opkey3:reduce",
            "broadcast_to+binary+reduce",
        ),
        ("mkl_conv[Txd:4][Tyd:4]", "mkl_conv"),
        ("transpose«Tx:float32", "transpose"),
    ],
)
def test_a_kernel_has_the_name_of_its_source_or_of_what_was_fused(key, name):
    assert operators.operator(key) == name
