"""Largest values and sorted order, ties always by the lower index, whatever the length.

Jittor's `topk` and `argsort` order equal values as it happens, so that two frameworks would pick different queries.
Where the fast operators do not apply, NumPy sorts on the host.
"""

import numpy as np

from jittor_impl.ops.kernel import kernel
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt

TOPK = """
  const int64_t n = in0->shape[in0->shape.size() - 1], R = in0->num / n, k = out->shape[out->shape.size() - 1];
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* x = in0_p + r * n;
    std::vector<int> id(n);
    for (int64_t i = 0; i < n; i++) id[i] = i;
    auto before = [&](int a, int b) { return x[a] > x[b] || (x[a] == x[b] && a < b); };
    if (k < n) std::nth_element(id.begin(), id.begin() + k - 1, id.end(), before);
    std::sort(id.begin(), id.begin() + k, before);
    for (int64_t i = 0; i < k; i++) out_p[r * k + i] = id[i];
  }
"""
STABLE = """
  const int64_t n = in0->shape[in0->shape.size() - 1], R = in0->num / n;
  #pragma omp parallel for
  for (int64_t r = 0; r < R; r++) {
    const float* x = in0_p + r * n; int* id = out_p + r * n;
    for (int64_t i = 0; i < n; i++) id[i] = i;
    std::stable_sort(id, id + n, [&](int a, int b) { return x[a] COMPARE x[b]; });
  }
"""


def argsort(x: jt.Var, descending: bool = False) -> jt.Var:
    """int32 indices that sort the last axis, stable: equal values keep their order."""
    x = x.detach()
    if fast(x):
        return kernel([x.shape], [x], STABLE.replace("COMPARE", ">" if descending else "<"), dtype="int32")
    values = x.numpy()
    return jt.array(np.argsort(-values if descending else values, axis=-1, kind="stable").astype(np.int32))


def topk(x: jt.Var, k: int) -> tuple[jt.Var, jt.Var]:
    """The k largest values of the last axis in descending order and their int32 indices, [..., k] each.

    The values carry gradient. Raises ValueError if the axis is shorter than k.
    """
    if not 0 < k <= x.shape[-1]:
        raise ValueError(f"topk: {k} of {x.shape[-1]} values")
    if fast(x):
        indices = kernel([[*x.shape[:-1], k]], [x.detach()], TOPK, dtype="int32")
    else:
        indices = argsort(x, descending=True)[..., :k]
    return jt.gather(x, x.ndim - 1, indices), indices
