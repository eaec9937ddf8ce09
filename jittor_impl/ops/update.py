"""One optimiser step, or one step of a moving average, of one array.

Each kernel serves arrays of every shape, so that a model with hundreds of parameters compiles three loops, not
hundreds. The scalars are an input, because they change with every step.
"""

from jittor_impl.ops.kernel import kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

# scalars: 1 - lr * decay, 1 - beta1, beta2, 1 - beta2, sqrt(1 - beta2^t), eps, lr / (1 - beta1^t), clipping factor
ADAMW = """
  const float *s = in4_p;
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float g = in1_p[i] * s[7];
    const float m = in2_p[i] + s[1] * (g - in2_p[i]), v = in3_p[i] * s[2] + s[3] * g * g;
    out1_p[i] = m; out2_p[i] = v;
    out0_p[i] = in0_p[i] * s[0] - s[6] * m / (std::sqrt(v) / s[4] + s[5]);
  }
"""
# scalars: lr, decay, momentum, clipping factor
SGD = """
  const float *s = in3_p;
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) {
    const float b = in2_p[i] * s[2] + in1_p[i] * s[3] + s[1] * in0_p[i];
    out1_p[i] = b;
    out0_p[i] = in0_p[i] - s[0] * b;
  }
"""
LERP = """
  const float a = in2_p[0], b = in2_p[1];
  #pragma omp parallel for simd
  for (int64_t i = 0; i < in0->num; i++) out_p[i] = a * in0_p[i] + b * in1_p[i];
"""


def adamw(p: jt.Var, g: jt.Var, m: jt.Var, v: jt.Var, scalars: list[float], table: jt.Var) -> list[jt.Var]:
    """New (parameter, first moment, second moment), as torch.optim.AdamW computes them.

    scalars: [1 - lr * decay, 1 - beta1, beta2, 1 - beta2, sqrt(1 - beta2^t), eps, lr / (1 - beta1^t), clipping factor];
    table: the same as a Var, one for all parameters that share them.
    """
    if fast(p):
        return kernel([p.shape] * 3, [p, g, m, v, table], ADAMW)
    decay, one_less_beta1, beta2, one_less_beta2, correction, eps, rate, clip = scalars
    g = g * clip
    m = m + (g - m) * one_less_beta1
    v = v * beta2 + g * g * one_less_beta2
    return [p * decay - m / (jt.sqrt(v) / correction + eps) * rate, m, v]


def sgd(p: jt.Var, g: jt.Var, buffer: jt.Var, scalars: list[float], table: jt.Var) -> list[jt.Var]:
    """New (parameter, momentum buffer), as torch.optim.SGD without dampening; scalars: [lr, decay, momentum, clip].

    A buffer of zeros gives the first step, where PyTorch sets the buffer to the gradient.
    """
    if fast(p):
        return kernel([p.shape] * 2, [p, g, buffer, table], SGD)
    lr, decay, momentum, clip = scalars
    buffer = buffer * momentum + g * clip + p * decay
    return [p - buffer * lr, buffer]


def average(old: jt.Var, new: jt.Var, decay: float, table: jt.Var) -> jt.Var:
    """decay * old + (1 - decay) * new; table: [decay, 1 - decay] as a Var."""
    return kernel([old.shape], [old, new, table], LERP) if fast(old) else old * decay + new * (1 - decay)
