"""Taking the channels apart in two halves, and putting two halves together in turns, as ShuffleNetV2 does.

Every piece is a block of memory that is copied. Jittor's slices have gradients that fill zeros around a part and add.
"""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

# L values per block: a half image for halves, a channel for turns; block i of a pair goes to its half or comes from it
SPLIT = """
  const int64_t L = BLOCK, R = in0->num / (2 * L);
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    std::memcpy(out0_p + r * L, in0_p + 2 * r * L, sizeof(float) * L);
    std::memcpy(out1_p + r * L, in0_p + (2 * r + 1) * L, sizeof(float) * L);
  }
"""
JOIN = """
  const int64_t L = BLOCK, R = in0->num / L;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    std::memcpy(out_p + 2 * r * L, in0_p + r * L, sizeof(float) * L);
    std::memcpy(out_p + (2 * r + 1) * L, in1_p + r * L, sizeof(float) * L);
  }
"""
HALF, CHANNEL = "in0->shape[1] * in0->shape[2] * in0->shape[3]", "in0->shape[2] * in0->shape[3]"


def _split(x: jt.Var, block: str) -> list[jt.Var]:
    n, c, h, w = x.shape
    return kernel([[n, c // 2, h, w]] * 2, [x], SPLIT.replace("BLOCK", block))


def _join(a: jt.Var, b: jt.Var, block: str) -> jt.Var:
    n, c, h, w = a.shape
    return kernel([[n, 2 * c, h, w]], [a, b], JOIN.replace("BLOCK", block))


class _Halves(jt.Function):
    def execute(self, x):
        return tuple(_split(x, f"{HALF} / 2"))

    def grad(self, a, b):
        return _join(a, b, HALF)


class _Interleave(jt.Function):
    def execute(self, a, b):
        return _join(a, b, CHANNEL)

    def grad(self, g):
        return tuple(_split(g, CHANNEL))


def halves(x: jt.Var) -> tuple[jt.Var, jt.Var]:
    """x [N, 2C, H, W] -> its first and its last C channels. Both have to be used where gradients are wanted."""
    half = x.shape[1] // 2
    return apply(_Halves(), x) if fast(x) else (x[:, :half], x[:, half:])


def interleave(a: jt.Var, b: jt.Var) -> jt.Var:
    """Two [N, C, H, W] -> [N, 2C, H, W] with the channels a0, b0, a1, b1, ..."""
    if fast(a, b):
        return apply(_Interleave(), a, b)
    n, c, h, w = a.shape
    return jt.concat([a.unsqueeze(2), b.unsqueeze(2)], dim=2).reshape([n, 2 * c, h, w])
