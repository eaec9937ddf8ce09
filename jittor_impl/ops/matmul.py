"""Batched matrix product.

Jittor hands only two-dimensional products to oneDNN; with a batch axis it multiplies and sums element by element on one
thread, 5 to 60 times slower than a matrix product. Here every matrix of the batch is one `dnnl_sgemm`, and the batch is
spread over the threads.
"""

from jittor_impl.ops.kernel import apply, kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

# oneDNN is already loaded by Jittor, so that declaring its function is enough to link
SGEMM = """
extern "C" int dnnl_sgemm(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                          float, float*, int64_t);
"""


def _product(a: jt.Var, b: jt.Var, transpose_a: bool = False, transpose_b: bool = False) -> jt.Var:
    """[B, n, m] times [B, m, k], either of them stored transposed."""
    n = a.shape[2] if transpose_a else a.shape[1]
    k = b.shape[1] if transpose_b else b.shape[2]
    source = f"""
      const int64_t B = out_shape0, n = out_shape1, k = out_shape2, m = in0_shape{1 if transpose_a else 2};
      #pragma omp parallel for
      for (int64_t i = 0; i < B; i++)
        dnnl_sgemm('{"T" if transpose_a else "N"}', '{"T" if transpose_b else "N"}', n, k, m, 1.f,
                   in0_p + i * n * m, {"n" if transpose_a else "m"},
                   in1_p + i * m * k, {"m" if transpose_b else "k"}, 0.f, out_p + i * n * k, k);
    """
    return kernel([[a.shape[0], n, k]], [a, b], source, SGEMM)


class _BatchedMatmul(jt.Function):
    def __init__(self, transpose_b: bool):
        self.transpose_b = transpose_b

    def execute(self, a, b):
        self.saved = a, b
        return _product(a, b, transpose_b=self.transpose_b)

    def grad(self, g):
        a, b = self.saved
        if self.transpose_b:
            return _product(g, b), _product(g, a, transpose_a=True)
        return _product(g, b, transpose_b=True), _product(a, g, transpose_a=True)


def bmm(a: jt.Var, b: jt.Var, transpose_b: bool = False) -> jt.Var:
    """[..., n, m] times [..., m, k] (or [..., k, m] with `transpose_b`) to [..., n, k]; equal leading axes."""
    if not fast(a, b):
        order = [*range(b.ndim - 2), b.ndim - 1, b.ndim - 2]
        return jt.matmul(a, b.transpose(order) if transpose_b else b)
    lead = list(a.shape[:-2])
    if lead != list(b.shape[:-2]):
        raise ValueError(f"bmm: leading axes {lead} and {list(b.shape[:-2])} differ")
    out = apply(_BatchedMatmul(transpose_b), a.reshape([-1, *a.shape[-2:]]), b.reshape([-1, *b.shape[-2:]]))
    return out.reshape([*lead, *out.shape[-2:]])
