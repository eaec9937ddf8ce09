"""Layer normalisation over the last axis, with variance in two passes as PyTorch has it."""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

FORWARD = """
  const int64_t C = in1_shape0, R = out1_shape0;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* __restrict__ x = in0_p + r * C; float* __restrict__ y = out0_p + r * C;
    float sum = 0, square = 0;
    for (int64_t i = 0; i < C; i++) sum += x[i];
    const float mean = sum / C;
    for (int64_t i = 0; i < C; i++) square += (x[i] - mean) * (x[i] - mean);
    const float scale = 1 / std::sqrt(square / C + EPSf);
    out1_p[r] = mean; out2_p[r] = scale;
    for (int64_t i = 0; i < C; i++) y[i] = (x[i] - mean) * scale * in1_p[i] + in2_p[i];
  }
"""
# every thread sums the affine gradients of its own rows; the partial sums are added in thread order: no atomics
BACKWARD = """
  const int64_t C = in1_shape0, R = in2_shape0; const int T = omp_get_max_threads();
  std::vector<float> partial(T * 2 * C, 0.f);
  #pragma omp parallel num_threads(T)
  {
    float* __restrict__ gw = &partial[omp_get_thread_num() * 2 * C]; float* __restrict__ gb = gw + C;
    #pragma omp for schedule(static)
    for (int64_t r = 0; r < R; r++) {
      const float* __restrict__ x = in0_p + r * C; const float* __restrict__ g = in4_p + r * C;
      float* __restrict__ o = out0_p + r * C;
      const float mean = in2_p[r], scale = in3_p[r];
      float a = 0, c = 0;
      for (int64_t i = 0; i < C; i++) {
        const float h = (x[i] - mean) * scale, t = g[i] * in1_p[i];
        a += t; c += t * h; gw[i] += g[i] * h; gb[i] += g[i];
      }
      a /= C; c /= C;
      for (int64_t i = 0; i < C; i++) o[i] = scale * (g[i] * in1_p[i] - a - (x[i] - mean) * scale * c);
    }
  }
  for (int64_t i = 0; i < C; i++) {
    float a = 0, c = 0;
    for (int t = 0; t < T; t++) { a += partial[t * 2 * C + i]; c += partial[t * 2 * C + C + i]; }
    out1_p[i] = a; out2_p[i] = c;
  }
"""


class _LayerNorm(jt.Function):
    def __init__(self, eps: float):
        self.eps = eps

    def execute(self, x, weight, bias):
        rows = x.numel() // x.shape[-1]
        y, mean, scale = kernel(
            [x.shape, [rows], [rows]], [x, weight, bias], FORWARD.replace("EPS", repr(float(self.eps)))
        )
        self.saved = x, weight, mean, scale
        return y

    def grad(self, g):
        x, weight, mean, scale = self.saved
        return tuple(kernel([x.shape, weight.shape, weight.shape], [x, weight, mean, scale, g], BACKWARD))


def layer_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float = 1e-5) -> jt.Var:
    """Normalise the last axis of x [..., C], then scale and shift by weight and bias [C]."""
    if fast(x):
        return apply(_LayerNorm(eps), x, weight, bias)
    return jt.nn.layer_norm(x, (x.shape[-1],), weight, bias, eps)
