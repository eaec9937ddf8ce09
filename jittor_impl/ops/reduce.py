"""Sums over a whole array.

A Jittor sum is one float accumulator: 5e-5 off after 300 000 terms, and slow. Here blocks of fixed size are summed
apart and added in double precision, in an order that does not depend on the number of threads.
"""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

BLOCKS = """
  const int64_t n = in0->num, size = 4096, blocks = (n + size - 1) / size;
  std::vector<float> sums(blocks);
  #pragma omp parallel for if (blocks > 8)
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t end = std::min(n, (b + 1) * size); float a = 0;
    for (int64_t i = b * size; i < end; i++) a += TERM;
    sums[b] = a;
  }
  double total = 0;
  for (int64_t b = 0; b < blocks; b++) total += sums[b];
  out_p[0] = total;
"""
FILL = """
  const float g = in0_p[0];
  for (int64_t i = 0; i < out->num; i++) out_p[i] = g;
"""


class _Sum(jt.Function):
    def execute(self, x):
        self.shape = x.shape
        return kernel([[1]], [x], BLOCKS.replace("TERM", "in0_p[i]"))

    def grad(self, g):
        return kernel([self.shape], [g], FILL)


def fsum(x: jt.Var) -> jt.Var:
    """Sum of all elements, shape [1]; 0 for an empty array."""
    return apply(_Sum(), x) if fast(x) else x.sum()


def square_sum(x: jt.Var) -> jt.Var:
    """Sum of the squares of all elements, shape [1], without gradient: for gradient norms."""
    with jt.no_grad():
        return kernel([[1]], [x], BLOCKS.replace("TERM", "in0_p[i] * in0_p[i]")) if fast(x) else (x * x).sum()


class _Scaled(jt.Function):
    def execute(self, x, factor):
        self.saved = x, factor
        return x * factor

    def grad(self, g):
        x, factor = self.saved
        return g * factor, fsum(g * x)


def scaled(x: jt.Var, factor: jt.Var) -> jt.Var:
    """x times a factor of shape [1], whose gradient is a sum over the whole array."""
    return apply(_Scaled(), x, factor) if fast(x, factor) else x * factor
