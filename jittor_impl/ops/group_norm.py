"""Group normalisation, forward and backward in one pass over the groups each."""

from jittor_impl.ops.kernel import SUMS, apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

# D channels per group, S positions; one group of one image is contiguous
FORWARD = """
  const int64_t N = in0_shape0, C = in0_shape1, S = in0->num / (N * C), G = out1_shape1, D = C / G;
  #pragma omp parallel for
  for (int64_t r = 0; r < N * G; r++) {
    const float* __restrict__ x = in0_p + r * D * S; float* __restrict__ y = out0_p + r * D * S;
    const int64_t first = r % G * D;
    const float mean = summed(D * S, [&](int64_t i) { return x[i]; }) / (D * S);
    const double square = summed(D * S, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
    const float scale = 1 / std::sqrt((float)(square / (D * S)) + EPSf);
    out1_p[r] = mean; out2_p[r] = scale;
    for (int64_t d = 0; d < D; d++) {
      const float k = scale * in1_p[first + d], h = in2_p[first + d];
      for (int64_t i = d * S; i < (d + 1) * S; i++) y[i] = (x[i] - mean) * k + h;
    }
  }
"""
# per image and channel the sums of g and of g * (x - mean): they give the affine gradients and those of the statistics
BACKWARD = """
  const int64_t N = in0_shape0, C = in0_shape1, S = in0->num / (N * C), G = in2_shape1, D = C / G;
  std::vector<float> sums(N * C), dots(N * C);
  #pragma omp parallel for
  for (int64_t r = 0; r < N * G; r++) {
    const float mean = in2_p[r], scale = in3_p[r];
    const int64_t first = r % G * D;
    float a = 0, c = 0;
    for (int64_t d = 0; d < D; d++) {
      const float* __restrict__ x = in0_p + (r * D + d) * S; const float* __restrict__ g = in4_p + (r * D + d) * S;
      const float sum = summed(S, [&](int64_t i) { return g[i]; });
      const float dot = summed(S, [&](int64_t i) { return g[i] * (x[i] - mean); });
      sums[r * D + d] = sum; dots[r * D + d] = dot * scale;
      a += sum * in1_p[first + d]; c += dot * scale * in1_p[first + d];
    }
    a /= D * S; c /= D * S;
    for (int64_t d = 0; d < D; d++) {
      const float* __restrict__ x = in0_p + (r * D + d) * S; const float* __restrict__ g = in4_p + (r * D + d) * S;
      float* __restrict__ o = out0_p + (r * D + d) * S;
      const float w = in1_p[first + d];
      for (int64_t i = 0; i < S; i++) o[i] = scale * (g[i] * w - a - (x[i] - mean) * scale * c);
    }
  }
  for (int64_t i = 0; i < C; i++) {
    float w = 0, b = 0;
    for (int64_t n = 0; n < N; n++) { w += dots[n * C + i]; b += sums[n * C + i]; }
    out1_p[i] = w; out2_p[i] = b;
  }
"""


class _GroupNorm(jt.Function):
    def __init__(self, groups: int, eps: float):
        self.groups, self.eps = groups, eps

    def execute(self, x, weight, bias):
        statistics = [x.shape[0], self.groups]
        source = FORWARD.replace("EPS", repr(float(self.eps)))
        y, mean, scale = kernel([x.shape, statistics, statistics], [x, weight, bias], source, SUMS)
        self.saved = x, weight, mean, scale
        return y

    def grad(self, g):
        x, weight, mean, scale = self.saved
        return tuple(kernel([x.shape, weight.shape, weight.shape], [x, weight, mean, scale, g], BACKWARD, SUMS))


def group_norm(x: jt.Var, groups: int, weight: jt.Var, bias: jt.Var, eps: float = 1e-5) -> jt.Var:
    """Normalise x [N, C, ...] over each image's groups of C / groups channels; weight and bias [C]."""
    n, c = x.shape[:2]
    if c % groups:
        raise ValueError(f"group_norm: {c} channels do not divide into {groups} groups")
    if fast(x):
        return apply(_GroupNorm(groups, eps), x, weight, bias)
    rows = x.reshape([n, groups, -1])
    mean = rows.mean(dims=[2], keepdims=True)
    var = jt.maximum((rows * rows).mean(dims=[2], keepdims=True) - mean * mean, 0.0)
    y = ((rows - mean) / jt.sqrt(var + eps)).reshape([n, c, -1])
    return (y * weight.reshape([1, c, 1]) + bias.reshape([1, c, 1])).reshape(x.shape)
