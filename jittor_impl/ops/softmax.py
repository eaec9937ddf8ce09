"""Softmax over the last axis, one row after the other: Jittor's own reductions over the last axis do not vectorise."""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

FORWARD = """
  const int64_t C = in0->shape[in0->shape.size() - 1], R = in0->num / C;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* __restrict__ x = in0_p + r * C; float* __restrict__ y = out_p + r * C;
    float top = x[0], sum = 0;
    for (int64_t i = 1; i < C; i++) top = std::max(top, x[i]);
    for (int64_t i = 0; i < C; i++) { y[i] = std::exp(x[i] - top); sum += y[i]; }
    const float scale = 1 / sum;
    for (int64_t i = 0; i < C; i++) y[i] *= scale;
  }
"""
BACKWARD = """
  const int64_t C = in0->shape[in0->shape.size() - 1], R = in0->num / C;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* __restrict__ y = in0_p + r * C; const float* __restrict__ g = in1_p + r * C;
    float* __restrict__ o = out_p + r * C;
    float dot = 0;
    for (int64_t i = 0; i < C; i++) dot += y[i] * g[i];
    for (int64_t i = 0; i < C; i++) o[i] = y[i] * (g[i] - dot);
  }
"""


class _Softmax(jt.Function):
    def execute(self, x):
        self.y = kernel([x.shape], [x], FORWARD)
        return self.y

    def grad(self, g):
        return kernel([self.y.shape], [self.y, g], BACKWARD)


def softmax(x: jt.Var) -> jt.Var:
    """Softmax over the last axis of x, any shape. A row must hold a finite value: -inf entries become 0."""
    return apply(_Softmax(), x) if fast(x) else jt.nn.softmax(x, -1)
