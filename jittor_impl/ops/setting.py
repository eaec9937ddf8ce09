"""Which operators are in use: the fast ones of this package, or Jittor's own.

One process-wide setting rather than an argument everywhere, so that models read the same in both cases and a profile of
"stock Jittor" is the same code with one word changed. On CUDA the stock operators are always taken: the fast ones are
C++ for the CPU.
"""

from jittor_impl.runtime import jt
from parity.errors import UserError

CHOICES = ("fast", "stock")
_choice = "fast"


def use(choice: str) -> None:
    """Take `fast` or `stock` operators from now on. Raises UserError for another word."""
    global _choice
    if choice not in CHOICES:
        raise UserError(f"framework_options/ops={choice!r}: expected one of {', '.join(CHOICES)}")
    _choice = choice


def in_use() -> str:
    """`fast` or `stock`, as it takes effect on the present device."""
    return "stock" if jt.flags.use_cuda else _choice


def fast(*operands: jt.Var) -> bool:
    """Whether the fast operator applies: chosen, on CPU, float32, not empty (kernels divide by sizes)."""
    return in_use() == "fast" and all(x.dtype == "float32" and x.numel() > 0 for x in operands)
