"""Gradients of a depthwise convolution with a large kernel.

oneDNN 2.6 has fast gradients for kernels up to 3x3. For a larger one, as NanoDet-Plus has in its neck and head, it
falls back on a reference loop. Here a plane is copied between zeros, so that each place of the kernel meets whole rows,
and 16 neighbours are taken at once. With stride s the gradient's values stand s apart, with zeros between them.
"""

from jittor_impl.ops.kernel import kernel
from jittor_impl.runtime import jt

# The kernel's size, stride and padding are written into the source, so that loops over the kernel are unrolled
PLANES = """
typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
static inline int64_t whole(int64_t n) { return (n + 15) / 16 * 16; }
// `rows` x `columns` values, `apart` from each other, with `margin` zeros above and to the left
static inline void spread(const float* from, int64_t rows, int64_t columns, int64_t apart, int64_t margin,
    std::vector<float>& to, int64_t height, int64_t width) {
  to.assign(height * width, 0);
  for (int64_t y = 0; y < rows; y++)
    for (int64_t x = 0; x < columns; x++)
      to[(y * apart + margin) * width + x * apart + margin] = from[y * columns + x];
}
"""
BY_INPUT = """
  const int64_t C = in0_shape0, OH = in1_shape2, OW = in1_shape3, H = out_shape2, W = out_shape3;
  const int64_t height = H + K - 1, width = whole(W) + K - 1;
  #pragma omp parallel
  {
    std::vector<float> plane;
    #pragma omp for
    for (int64_t r = 0; r < out_shape0 * C; r++) {
      const float* w = in0_p + r % C * K * K;
      spread(in1_p + r * OH * OW, OH, OW, STRIDE, K - 1 - PAD, plane, height, width);
      for (int64_t y = 0; y < H; y++)
        for (int64_t x = 0; x < W; x += 16) {
          v16 sum = {};
          for (int a = 0; a < K; a++)
            for (int b = 0; b < K; b++)
              sum += *(const v16*)&plane[(y + a) * width + x + b] * w[(K - 1 - a) * K + K - 1 - b];
          std::memcpy(out_p + (r * H + y) * W + x, &sum, sizeof(float) * std::min<int64_t>(16, W - x));
        }
    }
  }
"""
BY_WEIGHT = """
  const int64_t N = in0_shape0, C = in0_shape1, H = in0_shape2, W = in0_shape3, OH = in1_shape2, OW = in1_shape3;
  const int64_t rows = (OH - 1) * STRIDE + 1, columns = whole((OW - 1) * STRIDE + 1);
  const int64_t height = std::max<int64_t>(H + PAD, rows + K - 1), width = std::max<int64_t>(W + PAD, columns + K - 1);
  #pragma omp parallel
  {
    std::vector<float> image, gradient;
    #pragma omp for
    for (int64_t c = 0; c < C; c++) {
      double total[K * K] = {};
      for (int64_t n = 0; n < N; n++) {
        spread(in0_p + (n * C + c) * H * W, H, W, 1, PAD, image, height, width);
        spread(in1_p + (n * C + c) * OH * OW, OH, OW, STRIDE, 0, gradient, rows, columns);
        for (int a = 0; a < K; a++) {
          v16 sum[K] = {};
          for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x += 16) {
              const v16 g = *(const v16*)&gradient[y * columns + x];
              for (int b = 0; b < K; b++) sum[b] += g * *(const v16*)&image[(y + a) * width + x + b];
            }
          for (int b = 0; b < K; b++)
            for (int i = 0; i < 16; i++) total[a * K + b] += sum[b][i];
        }
      }
      for (int k = 0; k < K * K; k++) out_p[c * K * K + k] = total[k];
    }
  }
"""


def applies(x: jt.Var, weight: jt.Var, dilation: int, groups: int) -> bool:
    """Whether this convolution has one filter of more than 3x3 per channel."""
    return x.shape[1] == weight.shape[0] == groups and weight.shape[1] == dilation == 1 and weight.shape[2] > 3


def by_input(shape: list[int], weight: jt.Var, g: jt.Var, stride: int, padding: int) -> jt.Var:
    """Gradient by x [N, C, H, W] = `shape`, from weight [C, 1, k, k] and the gradient g by the result."""
    return kernel([shape], [weight, g], _constants(weight.shape[2], stride, padding) + BY_INPUT, PLANES)


def by_weight(shape: list[int], x: jt.Var, g: jt.Var, stride: int, padding: int) -> jt.Var:
    """Gradient by the weight [C, 1, k, k] = `shape`, from x [N, C, H, W] and the gradient g by the result."""
    return kernel([shape], [x, g], _constants(shape[2], stride, padding) + BY_WEIGHT, PLANES)


def _constants(size: int, stride: int, padding: int) -> str:
    return f"  constexpr int K = {size}, STRIDE = {stride}, PAD = {padding};"
