"""Convolution, by the implementation of oneDNN that PyTorch takes too.

Where it may choose freely, oneDNN 2.6 takes "brgconv" on a processor with AVX-512, as Jittor lets it. That one adds all
products of an output, channels times kernel, in one chain of float32: two to five times as far from float64 as the next
one in its list, which adds them in blocks. Only the forward pass is chosen here; the gradients are Jittor's own.
"""

import sys
from pathlib import Path

from jittor_impl.ops.kernel import apply
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt, plain

HEADER = "#include <dnnl.hpp>\n#include <string>\n#include <unordered_map>\n"
OPTIONS = {f"FLAGS: -I{plain(Path(sys.prefix)) / 'include'} ": 1}
# oneDNN keeps compiled primitives itself, so that describing one anew for every call costs little
FORWARD = """
  using namespace dnnl;
  using tag = memory::format_tag;
  const int64_t G = data["groups"], stride = data["stride"], pad = data["padding"], dilation = data["dilation"] - 1;
  const auto f32 = memory::data_type::f32;
  static engine cpu(engine::kind::cpu, 0);
  stream queue(cpu);
  const memory::dims x{in0_shape0, in0_shape1, in0_shape2, in0_shape3};
  const memory::dims y{out_shape0, out_shape1, out_shape2, out_shape3};
  const memory::dims w = G > 1 ? memory::dims{G, in1_shape0 / G, in1_shape1, in1_shape2, in1_shape3}
                               : memory::dims{in1_shape0, in1_shape1, in1_shape2, in1_shape3};
  const memory given_x({x, f32, tag::abcd}, cpu, (void*)in0_p);
  const memory given_w({w, f32, G > 1 ? tag::goihw : tag::oihw}, cpu, (void*)in1_p);
  const memory wanted({y, f32, tag::abcd}, cpu, (void*)out_p);
  const convolution_forward::desc wish(
    prop_kind::forward_training, algorithm::convolution_direct, {x, f32, tag::any}, {w, f32, tag::any},
    {y, f32, tag::any}, {stride, stride}, {dilation, dilation}, {pad, pad}, {pad, pad});
  convolution_forward::primitive_desc found(wish, cpu);
  const auto chain = [](const std::string& name) { return name.rfind("brgconv", 0) == 0; };
  while (chain(found.impl_info_str()))
    if (!found.next_impl()) { found = convolution_forward::primitive_desc(wish, cpu); break; }
  const auto arranged = [&](const memory& from, const memory::desc& as) {
    if (from.get_desc() == as) return from;
    memory to(as, cpu);
    reorder(from, to).execute(queue, const_cast<memory&>(from), to);
    return to;
  };
  memory result = found.dst_desc() == wanted.get_desc() ? wanted : memory(found.dst_desc(), cpu);
  convolution_forward(found).execute(queue, {
    {DNNL_ARG_SRC, arranged(given_x, found.src_desc())}, {DNNL_ARG_WEIGHTS, arranged(given_w, found.weights_desc())},
    {DNNL_ARG_DST, result}});
  if (result != wanted) { memory place = wanted; reorder(result, place).execute(queue, result, place); }
  queue.wait();
"""


class _Conv2d(jt.Function):
    def __init__(self, stride: int, padding: int, dilation: int, groups: int):
        self.settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def execute(self, x, weight):
        self.saved = x, weight
        stride, padding, dilation = (self.settings[key] for key in ("stride", "padding", "dilation"))
        sizes = [
            (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1
            for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)
        ]
        shape = [x.shape[0], weight.shape[0], *sizes]
        y = jt.code(shape, "float32", [x, weight], cpu_header=HEADER, cpu_src=FORWARD, data=self.settings)
        y.compile_options = OPTIONS
        return y

    def grad(self, g):
        x, weight = self.saved
        settings = [value for key in ("stride", "padding", "dilation") for value in 2 * [self.settings[key]]]
        own, groups = jt.compile_extern.mkl_ops, self.settings["groups"]
        return (
            own.mkl_conv_backward_x(weight, g, *x.shape[2:], *settings, groups),
            own.mkl_conv_backward_w(x, g, *weight.shape[2:], *settings, groups),
        )


def conv2d(
    x: jt.Var, weight: jt.Var, bias: jt.Var | None, stride: int, padding: int, dilation: int, groups: int
) -> jt.Var:
    """x [N, C, H, W], weight [D, C / groups, h, w], bias [D] or None -> [N, D, ...]; both axes are treated alike."""
    if not fast(x, weight):
        return jt.nn.conv2d(x, weight, bias, stride, padding, dilation, groups)
    y = apply(_Conv2d(stride, padding, dilation, groups), x, weight)
    return y if bias is None else y + bias.broadcast(y, [0, 2, 3])
