"""Bilinear sampling at given places, and nearest upsampling by two."""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

# one thread per image, so that the backward pass may add to the image's gradient without atomics
PLACES = """
  const int64_t N = in0_shape0, C = in0_shape1, H = in0_shape2, W = in0_shape3, P = (int64_t)in1_shape1 * in1_shape2;
  #pragma omp parallel for
  for (int64_t n = 0; n < N; n++) {
    BEFORE
    for (int64_t p = 0; p < P; p++) {
      const float* place = in1_p + (n * P + p) * 2;
      const float gx = ((place[0] + 1) * W - 1) * .5f, gy = ((place[1] + 1) * H - 1) * .5f;
      const float fx = std::floor(gx), fy = std::floor(gy), dx = gx - fx, dy = gy - fy;
      const bool l = fx >= 0 && fx < W, r = fx >= -1 && fx < W - 1, t = fy >= 0 && fy < H, u = fy >= -1 && fy < H - 1;
      const int64_t x0 = (l || r) ? (int64_t)fx : 0, y0 = (t || u) ? (int64_t)fy : 0;
      const float w00 = l && t ? (1 - dx) * (1 - dy) : 0, w01 = r && t ? dx * (1 - dy) : 0;
      const float w10 = l && u ? (1 - dx) * dy : 0, w11 = r && u ? dx * dy : 0;
      const int64_t o00 = l && t ? y0 * W + x0 : 0, o01 = r && t ? y0 * W + x0 + 1 : 0;
      const int64_t o10 = l && u ? (y0 + 1) * W + x0 : 0, o11 = r && u ? (y0 + 1) * W + x0 + 1 : 0;
      INSIDE
    }
  }
"""
FORWARD = PLACES.replace("BEFORE", "").replace(
    "INSIDE",
    """
      for (int64_t c = 0; c < C; c++) {
        const float* x = in0_p + (n * C + c) * H * W;
        out_p[(n * C + c) * P + p] = w00 * x[o00] + w01 * x[o01] + w10 * x[o10] + w11 * x[o11];
      }
""",
)
BACKWARD = PLACES.replace("BEFORE", "std::memset(out0_p + n * C * H * W, 0, sizeof(float) * C * H * W);").replace(
    "INSIDE",
    """
      const float m00 = l && t, m01 = r && t, m10 = l && u, m11 = r && u;
      float ax = 0, ay = 0;
      for (int64_t c = 0; c < C; c++) {
        const float* x = in0_p + (n * C + c) * H * W; float* g = out0_p + (n * C + c) * H * W;
        const float q = in2_p[(n * C + c) * P + p];
        g[o00] += w00 * q; g[o01] += w01 * q; g[o10] += w10 * q; g[o11] += w11 * q;
        const float a = x[o00] * m00, b = x[o01] * m01, d = x[o10] * m10, e = x[o11] * m11;
        ax += q * ((b - a) * (1 - dy) + (e - d) * dy);
        ay += q * ((d - a) * (1 - dx) + (e - b) * dx);
      }
      out1_p[(n * P + p) * 2] = ax * W * .5f;
      out1_p[(n * P + p) * 2 + 1] = ay * H * .5f;
""",
)


class _GridSample(jt.Function):
    def execute(self, x, grid):
        self.saved = x, grid
        return kernel([[*x.shape[:2], *grid.shape[1:3]]], [x, grid], FORWARD)

    def grad(self, g):
        x, grid = self.saved
        return tuple(kernel([x.shape, grid.shape], [x, grid, g], BACKWARD))


def grid_sample(x: jt.Var, grid: jt.Var) -> jt.Var:
    """Values of x [N, C, H, W] at grid [N, h, w, 2], (x, y) in -1..1 between the outer pixel edges, to [N, C, h, w].

    Bilinear, zeros outside, `align_corners=False`.
    """
    if fast(x, grid):
        return apply(_GridSample(), x, grid)
    return jt.nn.grid_sample(x, grid, "bilinear", "zeros", False)


DOUBLE = """
  const int64_t W = in0->shape[3], R = in0->num / W;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* __restrict__ x = in0_p + r * W; float* __restrict__ y = out_p + r * 4 * W;
    for (int64_t i = 0; i < W; i++) { y[2 * i] = x[i]; y[2 * i + 1] = x[i]; }
    std::memcpy(y + 2 * W, y, sizeof(float) * 2 * W);
  }
"""
HALVE = """
  const int64_t W = out->shape[3], R = out->num / W;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* __restrict__ g = in0_p + r * 4 * W; float* __restrict__ o = out_p + r * W;
    for (int64_t i = 0; i < W; i++) o[i] = (g[2 * i] + g[2 * i + 1]) + (g[2 * W + 2 * i] + g[2 * W + 2 * i + 1]);
  }
"""


class _UpsampleNearest(jt.Function):
    def execute(self, x):
        self.shape = x.shape
        return kernel([[*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]]], [x], DOUBLE)

    def grad(self, g):
        return kernel([self.shape], [g], HALVE)


def upsample_nearest2x(x: jt.Var) -> jt.Var:
    """Every pixel of x [N, C, H, W] four times: [N, C, 2H, 2W]."""
    return apply(_UpsampleNearest(), x) if fast(x) else jt.nn.interpolate(x, scale_factor=2, mode="nearest")
