"""The few lines every C++ operator of this package needs around its loop.

Jittor compiles one kernel per source text, so a source may contain constants that never change (an epsilon) but no
value that does (a learning rate): those are passed as a Var.
"""

from jittor_impl.runtime import jt

HEADER = """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#include <omp.h>
"""
# One float accumulator loses digits with every thousand terms; blocks keep the inner loop as fast as it was.
SUMS = """
template <class Term> static inline double summed(int64_t n, Term term) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 256) {
    const int64_t end = std::min(n, begin + 256); float part = 0;
    for (int64_t i = begin; i < end; i++) part += term(i);
    total += part;
  }
  return total;
}
"""


def kernel(shapes: list, inputs: list[jt.Var], source: str, header: str = "", dtype: str = "float32"):
    """Run C++ on CPU arrays `in0_p, in1_p, ...` giving `out_p`, or `out0_p, out1_p, ...` for several shapes.

    shapes   one shape per output
    returns  a Var for one shape, else a list of Vars
    """
    shapes = [[int(n) for n in shape] for shape in shapes]
    if len(shapes) == 1:
        return jt.code(shapes[0], dtype, inputs, cpu_header=HEADER + header, cpu_src=source)
    return jt.code(shapes, [dtype] * len(shapes), inputs, cpu_header=HEADER + header, cpu_src=source)


def apply(function: jt.Function, *inputs: jt.Var):
    """Call an operator; without its gradient where no input wants one, because Jittor cannot record that."""
    if jt.flags.no_grad or all(x.is_stop_grad() for x in inputs):
        return function.execute(*inputs)
    return function(*inputs)
