"""The largest probabilities of many small distributions side by side, as GFocalV2's quality predictor takes them.

Positions lie side by side in memory and the bins far apart, so everything is done for 64 positions at a time: softmax,
then the largest values kept in order by comparing and swapping, without a sort.
"""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.order import topk
from jittor_impl.ops.setting import fast
from jittor_impl.ops.softmax import softmax
from jittor_impl.runtime import jt

# r: side of an image; out0 has TOP + MEAN planes where in0 has BINS
PROBABILITIES = """
  const int64_t R = in0_shape0 * 4, S = in0->num / (R * BINS), P = TOP + MEAN;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++)
  for (int64_t first = 0; first < S; first += 64) {
    const int64_t n = std::min<int64_t>(64, S - first);
    const float* __restrict__ x = in0_p + r * BINS * S + first;
    float p[BINS][64], peak[64], sum[64];
    for (int64_t i = 0; i < n; i++) { peak[i] = x[i]; sum[i] = 0; }
    for (int b = 1; b < BINS; b++) for (int64_t i = 0; i < n; i++) peak[i] = std::max(peak[i], x[b * S + i]);
    for (int b = 0; b < BINS; b++)
      for (int64_t i = 0; i < n; i++) { p[b][i] = std::exp(x[b * S + i] - peak[i]); sum[i] += p[b][i]; }
    for (int64_t i = 0; i < n; i++) sum[i] = 1 / sum[i];
    for (int b = 0; b < BINS; b++) for (int64_t i = 0; i < n; i++) p[b][i] *= sum[i];
    INSIDE
  }
"""
FORWARD = PROBABILITIES.replace(
    "INSIDE",
    """
    float top[TOP][64] = {}, mean[64] = {};
    for (int b = 0; b < BINS; b++)
      for (int64_t i = 0; i < n; i++) {
        float v = p[b][i];
        for (int k = 0; k < TOP; k++) { const float t = top[k][i]; top[k][i] = std::max(t, v); v = std::min(t, v); }
      }
    float* __restrict__ y = out_p + r * P * S + first;
    for (int k = 0; k < TOP; k++)
      for (int64_t i = 0; i < n; i++) { y[k * S + i] = top[k][i]; mean[i] += top[k][i]; }
    if (MEAN) for (int64_t i = 0; i < n; i++) y[TOP * S + i] = mean[i] * (1.f / TOP);
""",
)
# a bin's rank says which output it went to; of equal ones the lower bin comes first
BACKWARD = PROBABILITIES.replace(
    "INSIDE",
    """
    const float* __restrict__ g = in1_p + r * P * S + first; float* __restrict__ o = out_p + r * BINS * S + first;
    float gp[BINS][64], dot[64] = {};
    for (int b = 0; b < BINS; b++) {
      int rank[64] = {};
      for (int c = 0; c < BINS; c++)
        for (int64_t i = 0; i < n; i++) rank[i] += c < b ? p[c][i] >= p[b][i] : p[c][i] > p[b][i];
      for (int64_t i = 0; i < n; i++) gp[b][i] = MEAN && rank[i] < TOP ? g[TOP * S + i] * (1.f / TOP) : 0;
      for (int k = 0; k < TOP; k++) for (int64_t i = 0; i < n; i++) gp[b][i] += rank[i] == k ? g[k * S + i] : 0;
      for (int64_t i = 0; i < n; i++) dot[i] += gp[b][i] * p[b][i];
    }
    for (int b = 0; b < BINS; b++) for (int64_t i = 0; i < n; i++) o[b * S + i] = p[b][i] * (gp[b][i] - dot[i]);
""",
)


class _TopProbabilities(jt.Function):
    def __init__(self, bins: int, top: int, mean: bool):
        self.constants = {"BINS": str(bins), "TOP": str(top), "MEAN": str(int(mean))}
        self.planes = 4 * (top + mean)

    def source(self, text: str) -> str:
        for name, value in self.constants.items():
            text = text.replace(name, value)
        return text

    def execute(self, logits):
        self.logits = logits
        shape = [logits.shape[0], self.planes, *logits.shape[2:]]
        return kernel([shape], [logits], self.source(FORWARD))

    def grad(self, g):
        return kernel([self.logits.shape], [self.logits, g], self.source(BACKWARD))


def top_probabilities(logits: jt.Var, bins: int, top: int, mean: bool) -> jt.Var:
    """The `top` largest probabilities of each side's distribution and, if `mean`, their mean.

    logits [N, 4 * bins, H, W], side after side -> [N, 4 * (top + mean), H, W], side after side.
    """
    if fast(logits):
        return apply(_TopProbabilities(bins, top, mean), logits)
    n, _, h, w = logits.shape
    largest = topk(softmax(logits.reshape([n, 4, bins, h * w]).transpose(0, 1, 3, 2)), top)[0]
    if mean:
        largest = jt.concat([largest, largest.mean(dims=[3], keepdims=True)], dim=3)
    return largest.transpose(0, 1, 3, 2).reshape([n, 4 * (top + mean), h, w])
