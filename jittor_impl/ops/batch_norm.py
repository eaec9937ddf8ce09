"""Batch normalisation with batch statistics, as PyTorch has it, and with given ones.

Jittor takes the variance as E[x^2] - E[x]^2, which loses digits, and keeps the biased one in its running statistics.
Here, if fast, it comes from a second pass over differences from the mean, summed in blocks, and in both settings the
caller gets the unbiased one for its running average.
"""

from jittor_impl.ops.kernel import SUMS, apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

FORWARD = """
  const int64_t N = in0_shape0, C = in0_shape1, S = in0->num / (N * C);
  #pragma omp parallel for
  for (int64_t c = 0; c < C; c++) {
    double sum = 0, square = 0;
    for (int64_t n = 0; n < N; n++) {
      const float* x = in0_p + (n * C + c) * S;
      sum += summed(S, [&](int64_t i) { return x[i]; });
    }
    const float mean = sum / (N * S);
    for (int64_t n = 0; n < N; n++) {
      const float* x = in0_p + (n * C + c) * S;
      square += summed(S, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
    }
    const float var = square / (N * S), scale = in1_p[c] / std::sqrt(var + EPSf), shift = in2_p[c];
    out1_p[c] = mean; out2_p[c] = var;
    for (int64_t n = 0; n < N; n++) {
      const float* __restrict__ x = in0_p + (n * C + c) * S; float* __restrict__ y = out0_p + (n * C + c) * S;
      for (int64_t i = 0; i < S; i++) y[i] = (x[i] - mean) * scale + shift;
    }
  }
"""
BACKWARD = """
  const int64_t N = in0_shape0, C = in0_shape1, S = in0->num / (N * C);
  #pragma omp parallel for
  for (int64_t c = 0; c < C; c++) {
    double sum = 0, dot = 0;
    const float mean = in2_p[c], scale = 1 / std::sqrt(in3_p[c] + EPSf);
    for (int64_t n = 0; n < N; n++) {
      const float *x = in0_p + (n * C + c) * S, *g = in4_p + (n * C + c) * S;
      sum += summed(S, [&](int64_t i) { return g[i]; });
      dot += summed(S, [&](int64_t i) { return g[i] * (x[i] - mean); });
    }
    out1_p[c] = dot * scale; out2_p[c] = sum;
    const float p = sum / (N * S), q = dot * scale * scale / (N * S), k = in1_p[c] * scale;
    for (int64_t n = 0; n < N; n++) {
      const float* __restrict__ x = in0_p + (n * C + c) * S; const float* __restrict__ g = in4_p + (n * C + c) * S;
      float* __restrict__ o = out0_p + (n * C + c) * S;
      for (int64_t i = 0; i < S; i++) o[i] = k * (g[i] - p - (x[i] - mean) * q);
    }
  }
"""
SUMS_BY_CHANNEL = """
  const int64_t N = in0_shape0, C = in0_shape1, S = in0->num / (N * C);
  #pragma omp parallel for
  for (int64_t c = 0; c < C; c++) {
    double sum = 0, dot = 0;
    const float mean = in1_p[c];
    for (int64_t n = 0; n < N; n++) {
      const float *x = in0_p + (n * C + c) * S, *g = in3_p + (n * C + c) * S;
      sum += summed(S, [&](int64_t i) { return g[i]; });
      dot += summed(S, [&](int64_t i) { return g[i] * (x[i] - mean); });
    }
    out0_p[c] = dot / std::sqrt(in2_p[c] + EPSf); out1_p[c] = sum;
  }
"""


class _BatchNorm(jt.Function):
    """The statistics are for running averages only: no gradient flows back through them."""

    def __init__(self, eps: float):
        self.eps = repr(float(eps))

    def execute(self, x, weight, bias):
        channels = [x.shape[1]]
        y, mean, var = kernel([x.shape, channels, channels], [x, weight, bias], FORWARD.replace("EPS", self.eps), SUMS)
        self.saved = x, weight, mean, var
        return y, mean, var

    def grad(self, g, _mean, _var):
        x, weight, mean, var = self.saved
        source = BACKWARD.replace("EPS", self.eps)
        return tuple(kernel([x.shape, weight.shape, weight.shape], [x, weight, mean, var, g], source, SUMS))


def batch_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, eps: float = 1e-5) -> tuple[jt.Var, jt.Var, jt.Var]:
    """Normalise x [N, C, ...] per channel over everything else.

    Returns (y like x, mean [C], unbiased variance [C]); the statistics carry no gradient. Raises ValueError for a
    single value per channel, where the unbiased variance does not exist.
    """
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"batch_norm: expected more than 1 value per channel in training, got shape {list(x.shape)}")
    if fast(x):
        y, mean, var = apply(_BatchNorm(eps), x, weight, bias)
    else:
        dims = [0, *range(2, x.ndim)]
        mean = x.mean(dims=dims)
        var = jt.maximum((x * x).mean(dims=dims) - mean * mean, 0.0)
        scale = weight / jt.sqrt(var + eps)
        y = x * scale.broadcast(x, dims) + (bias - mean * scale).broadcast(x, dims)
    return y, mean.detach(), var.detach() * (count / (count - 1))


def _affine(x: jt.Var, weight: jt.Var, bias: jt.Var, mean: jt.Var, var: jt.Var, eps: float) -> tuple[jt.Var, jt.Var]:
    scale = weight / jt.sqrt(var + eps)
    shift = bias - mean * scale
    return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1), scale


class _AffineNorm(jt.Function):
    """Jittor's own operators forward, which it fuses with what follows; its sums over channels are slow."""

    def __init__(self, eps: float):
        self.eps = eps

    def execute(self, x, weight, bias, mean, var):
        y, scale = _affine(x, weight, bias, mean, var, self.eps)
        self.saved = x, mean, var, scale
        return y

    def grad(self, g):
        x, mean, var, scale = self.saved
        source = SUMS_BY_CHANNEL.replace("EPS", repr(float(self.eps)))
        by_weight, by_bias = kernel([mean.shape] * 2, [x, mean, var, g], source, SUMS)
        return g * scale.reshape(1, -1, 1, 1), by_weight, by_bias, None, None


def affine_norm(x: jt.Var, weight: jt.Var, bias: jt.Var, mean: jt.Var, var: jt.Var, eps: float = 1e-5) -> jt.Var:
    """Normalise x [N, C, H, W] with given mean and variance [C], which get no gradient, then scale and shift it."""
    if fast(x) and not weight.is_stop_grad():
        return apply(_AffineNorm(eps), x, weight, bias, mean, var)
    return _affine(x, weight, bias, mean, var, eps)[0]
