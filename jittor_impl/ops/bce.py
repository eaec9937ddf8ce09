"""Binary cross-entropy, element by element: of logits, exact for large ones (Jittor's log_sigmoid is not), and of
probabilities, with PyTorch's bounds at 0 and 1."""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

FORWARD = """
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float x = in0_p[i];
    out_p[i] = std::max(x, 0.f) - x * in1_p[i] + std::log1p(std::exp(-std::abs(x)));
  }
"""
BACKWARD = """
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float x = in0_p[i], e = std::exp(-std::abs(x)), p = 1 / (1 + e);
    out_p[i] = in2_p[i] * ((x >= 0 ? p : e * p) - in1_p[i]);
  }
"""


class _BinaryCrossEntropy(jt.Function):
    def execute(self, logits, target):
        self.saved = logits, target
        return kernel([logits.shape], [logits, target], FORWARD)

    def grad(self, g):
        logits, target = self.saved
        return kernel([logits.shape], [logits, target, g], BACKWARD), None


def bce_with_logits(logits: jt.Var, target: jt.Var) -> jt.Var:
    """-target log(p) - (1 - target) log(1 - p) with p = sigmoid(logits); equal shapes; no gradient to the target."""
    target = target.detach()
    if fast(logits, target):
        return apply(_BinaryCrossEntropy(), logits, target)
    # the gradient of |x| and of max at 0 is one-sided in Jittor; in this form the two sides cancel
    low = jt.clamp(-logits, min_v=0.0)
    return (1 - target) * logits + low + jt.log(jt.exp(-low) + jt.exp(-logits - low))


OF_PROBABILITY = """
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float p = in0_p[i], t = in1_p[i];
    const float one = p > 0 ? std::max(std::log(p), -100.f) : -100.f;
    const float other = p < 1 ? std::max(std::log1p(-p), -100.f) : -100.f;
    out_p[i] = (t - 1) * other - t * one;
  }
"""
OF_PROBABILITY_BACKWARD = """
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float p = in0_p[i];
    out_p[i] = in2_p[i] * (p - in1_p[i]) / std::max((1 - p) * p, 1e-12f);
  }
"""


class _CrossEntropyOfProbability(jt.Function):
    def execute(self, probability, target):
        self.saved = probability, target
        return kernel([probability.shape], [probability, target], OF_PROBABILITY)

    def grad(self, g):
        probability, target = self.saved
        return kernel([probability.shape], [probability, target, g], OF_PROBABILITY_BACKWARD), None


def bce(probability: jt.Var, target: jt.Var) -> jt.Var:
    """-target log(p) - (1 - target) log(1 - p), logarithms not below -100; equal shapes; no gradient to the target."""
    target = target.detach()
    if fast(probability, target):
        return apply(_CrossEntropyOfProbability(), probability, target)
    tiny = 1e-12  # a logarithm of 0 has no gradient, and Jittor's arithmetic no infinity
    p = jt.clamp(probability, min_v=tiny, max_v=1 - 6e-8)
    return -target * jt.log(p) - (1 - target) * jt.log(1 - p)
