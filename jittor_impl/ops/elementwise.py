"""Maximum, minimum, clamp and absolute value with PyTorch's gradients where two sides meet.

Jittor's own give: a tie's gradient to the second operand only (PyTorch: half to each), nothing to a value that equals
its bound (PyTorch: all of it), and 1 at |0| (PyTorch: 0). Boxes do touch such places: at the borders of the image, or
where two boxes share a side. Written with Jittor's element-wise operators, which it fuses: not slower than its own.
"""

from jittor_impl.runtime import jt


def _share(a: jt.Var, b: jt.Var) -> jt.Var:
    """1 where a > b, 0.5 where equal, else 0; without gradient."""
    a, b = a.detach(), b.detach()
    return (a > b).float32() * 0.5 + (a >= b).float32() * 0.5


def maximum(a: jt.Var, b: jt.Var) -> jt.Var:
    """Larger of two finite arrays whose shapes broadcast."""
    share = _share(a, b)
    return a * share + b * (1 - share)


def minimum(a: jt.Var, b: jt.Var) -> jt.Var:
    """Smaller of two finite arrays whose shapes broadcast."""
    share = _share(a, b)
    return b * share + a * (1 - share)


def clamp(x: jt.Var, low: float | None = None, high: float | None = None) -> jt.Var:
    """x inside [low, high]; a value on a bound keeps its gradient."""
    if low is not None:
        x = jt.ternary(x < low, jt.full_like(x, low), x)
    if high is not None:
        x = jt.ternary(x > high, jt.full_like(x, high), x)
    return x


def absolute(x: jt.Var) -> jt.Var:
    """|x|, with gradient 0 at 0."""
    y = x.detach()
    return x * ((y > 0).float32() - (y < 0).float32())
