"""Channels: split into halves, interleaved (both as in ShuffleNetV2), and maps put one after the other.

Every piece is a block of memory that is copied. The gradients of Jittor's slices fill zeros around a part and add.
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
# A and B values of an image: those of the first map, then those of the second
CONCAT = """
  const int64_t N = in0->shape[0], A = in0->num / N, B = in1->num / N;
  #pragma omp parallel for
  for (int64_t i = 0; i < 2 * N; i++) {
    const int64_t n = i / 2;
    if (i % 2) std::memcpy(out_p + n * (A + B) + A, in1_p + n * B, sizeof(float) * B);
    else std::memcpy(out_p + n * (A + B), in0_p + n * A, sizeof(float) * A);
  }
"""
PARTS = """
  const int64_t N = out0->shape[0], A = out0->num / N, B = out1->num / N;
  #pragma omp parallel for
  for (int64_t i = 0; i < 2 * N; i++) {
    const int64_t n = i / 2;
    if (i % 2) std::memcpy(out1_p + n * B, in0_p + n * (A + B) + A, sizeof(float) * B);
    else std::memcpy(out0_p + n * A, in0_p + n * (A + B), sizeof(float) * A);
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


class _Concat(jt.Function):
    def execute(self, a, b):
        self.shapes = a.shape, b.shape
        n, _, h, w = a.shape
        return kernel([[n, a.shape[1] + b.shape[1], h, w]], [a, b], CONCAT)

    def grad(self, g):
        return tuple(kernel(self.shapes, [g], PARTS))


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


def concat_channels(a: jt.Var, b: jt.Var) -> jt.Var:
    """[N, C, H, W] and [N, D, H, W] -> [N, C + D, H, W]."""
    return apply(_Concat(), a, b) if fast(a, b) else jt.concat([a, b], dim=1)
