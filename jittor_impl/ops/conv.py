"""Convolution by oneDNN, with its three parts (forward, gradient by input, gradient by weight) in one kernel.

Jittor's own operators describe a convolution to oneDNN anew in each call, allocate the memory for its layouts anew, and
bring operands into the layout of the forward pass before that of the gradient. At batch 1 that costs more than many
convolutions themselves. Here a plan is made once per shape.

On a processor with AVX-512 oneDNN 2.6 chooses "brgconv" if it is free to choose, as with Jittor. It adds all products
of an output, channels times kernel, in one chain of float32. The result is two to five times as far from float64 as
with the next algorithm in its list, which adds them in blocks. Without AVX-512 nothing is chosen: the first algorithm
("jit:avx2") stays, though it was three times as far from float64 as PyTorch's (256 channels, 3 x 3). Only the forward
pass is chosen here; the gradients are oneDNN's choice.
"""

import sys
from pathlib import Path

from jittor_impl.ops import depthwise
from jittor_impl.ops.kernel import apply
from jittor_impl.ops.setting import fast
from jittor_impl.runtime import jt, plain

OPTIONS = {f"FLAGS: -I{plain(Path(sys.prefix)) / 'include'} ": 1}
HEADER = """
#include <dnnl.hpp>
#include <array>
#include <stdlib.h>
#include <map>
#include <string>
#include <unordered_map>
namespace convolution {
using namespace dnnl;
using dims = memory::dims;
enum Part { FORWARD, BY_INPUT, BY_WEIGHT };
struct Settings { int64_t groups, stride, padding, dilation; };
// Both operands and the result: as the caller has them, and as the primitive wants them
struct Plan { primitive work; memory::desc given[3], wanted[3]; primitive move[3]; bool moved[3]; };
// Memory that is kept from one call to the next
struct Room {
  void* place = nullptr; size_t size = 0;
  void* of(size_t bytes) {
    if (bytes > size) {
      free(place);
      size = (bytes + 4095) / 4096 * 4096;
      if (posix_memalign(&place, 4096, size)) throw std::bad_alloc();
    }
    return place;
  }
};
static engine& cpu() { static engine only(engine::kind::cpu, 0); return only; }

static Plan planned(int64_t part, dims x, dims w, dims y, Settings s) {
  using tag = memory::format_tag;
  const auto described = [](const dims& d, tag t) { return memory::desc(d, memory::data_type::f32, t); };
  const auto any = [&](const dims& d) { return described(d, tag::any); };
  if (s.groups > 1) w = dims{s.groups, w[0] / s.groups, w[1], w[2], w[3]};
  const auto plain_x = described(x, tag::abcd), plain_w = described(w, s.groups > 1 ? tag::goihw : tag::oihw);
  const auto plain_y = described(y, tag::abcd);
  const dims strides{s.stride, s.stride}, dilation{s.dilation - 1, s.dilation - 1}, padding{s.padding, s.padding};
  const auto direct = algorithm::convolution_direct;
  const convolution_forward::desc wish(
    prop_kind::forward_training, direct, any(x), any(w), any(y), strides, dilation, padding, padding);
  convolution_forward::primitive_desc forward(wish, cpu());
  Plan plan;
  const auto fill = [&](std::array<memory::desc, 3> given, std::array<memory::desc, 3> wanted) {
    for (int i = 0; i < 3; i++) plan.given[i] = given[i], plan.wanted[i] = wanted[i];
  };
  if (part == FORWARD) {
    const auto chain = [](const std::string& name) { return name.rfind("brgconv", 0) == 0; };
    while (chain(forward.impl_info_str()))
      if (!forward.next_impl()) { forward = convolution_forward::primitive_desc(wish, cpu()); break; }
    plan.work = convolution_forward(forward);
    fill({plain_x, plain_w, plain_y}, {forward.src_desc(), forward.weights_desc(), forward.dst_desc()});
  } else if (part == BY_INPUT) {
    const convolution_backward_data::desc back(direct, any(x), any(w), any(y), strides, dilation, padding, padding);
    const convolution_backward_data::primitive_desc found(back, cpu(), forward);
    plan.work = convolution_backward_data(found);
    fill({plain_w, plain_y, plain_x}, {found.weights_desc(), found.diff_dst_desc(), found.diff_src_desc()});
  } else {
    const convolution_backward_weights::desc back(direct, any(x), any(w), any(y), strides, dilation, padding, padding);
    const convolution_backward_weights::primitive_desc found(back, cpu(), forward);
    plan.work = convolution_backward_weights(found);
    fill({plain_x, plain_y, plain_w}, {found.src_desc(), found.diff_dst_desc(), found.diff_weights_desc()});
  }
  for (int i = 0; i < 3; i++) {
    plan.moved[i] = plan.given[i] != plan.wanted[i];
    const auto &from = i < 2 ? plan.given[i] : plan.wanted[i], &to = i < 2 ? plan.wanted[i] : plan.given[i];
    if (plan.moved[i]) plan.move[i] = reorder(reorder::primitive_desc(cpu(), from, cpu(), to));
  }
  return plan;
}

static void run(int64_t part, const Plan& plan, void* const (&places)[3]) {
  static const int names[3][3] = {
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
    {DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC},
    {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}};
  static Room rooms[3];
  static stream queue(cpu());
  std::unordered_map<int, memory> arguments;
  memory given[3], wanted[3];
  for (int i = 0; i < 3; i++) {
    given[i] = memory(plan.given[i], cpu(), places[i]);
    wanted[i] = plan.moved[i] ? memory(plan.wanted[i], cpu(), rooms[i].of(plan.wanted[i].get_size())) : given[i];
    arguments.emplace(names[part][i], wanted[i]);
    if (i < 2 && plan.moved[i])
      plan.move[i].execute(queue, {{DNNL_ARG_FROM, given[i]}, {DNNL_ARG_TO, wanted[i]}});
  }
  plan.work.execute(queue, arguments);
  if (plan.moved[2]) plan.move[2].execute(queue, {{DNNL_ARG_FROM, wanted[2]}, {DNNL_ARG_TO, given[2]}});
  queue.wait();
}
}
"""
SOURCE = """
  static std::map<std::array<int64_t, 17>, convolution::Plan> plans;
  const convolution::Settings s{
    (int64_t)data["groups"], (int64_t)data["stride"], (int64_t)data["padding"], (int64_t)data["dilation"]};
  const int64_t part = data["part"];
  const Var* operands[3] = {in0, in1, out};
  std::array<int64_t, 17> key{part, s.groups, s.stride, s.padding, s.dilation};
  convolution::dims sizes[3];
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 4; k++) sizes[i].push_back(key[5 + 4 * i + k] = operands[i]->shape[k]);
  auto found = plans.find(key);
  if (found == plans.end()) {
    if (plans.size() >= 2048) plans.clear(); // images of many sizes
    const int order[3][3] = {{0, 1, 2}, {2, 0, 1}, {0, 2, 1}}; // where input, weight and output stand, by part
    const auto& place = order[part];
    found = plans.emplace(key, convolution::planned(part, sizes[place[0]], sizes[place[1]], sizes[place[2]], s)).first;
  }
  convolution::run(part, found->second, {(void*)in0_p, (void*)in1_p, (void*)out_p});
"""
FORWARD, BY_INPUT, BY_WEIGHT = range(3)


class _Conv2d(jt.Function):
    def __init__(self, stride: int, padding: int, dilation: int, groups: int):
        self.settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def part(self, part: int, shape: list[int], a: jt.Var, b: jt.Var) -> jt.Var:
        data = self.settings | {"part": part}
        y = jt.code(shape, "float32", [a, b], cpu_header=HEADER, cpu_src=SOURCE, data=data)
        y.compile_options = OPTIONS
        return y

    def execute(self, x, weight):
        self.saved = x, weight
        stride, padding, dilation = (self.settings[key] for key in ("stride", "padding", "dilation"))
        sizes = [
            (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1
            for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)
        ]
        return self.part(FORWARD, [x.shape[0], weight.shape[0], *sizes], x, weight)

    def grad(self, g):
        x, weight = self.saved
        if depthwise.applies(x, weight, self.settings["dilation"], self.settings["groups"]):
            stride, padding = self.settings["stride"], self.settings["padding"]
            return (
                depthwise.by_input(x.shape, weight, g, stride, padding),
                depthwise.by_weight(weight.shape, x, g, stride, padding),
            )
        return self.part(BY_INPUT, x.shape, weight, g), self.part(BY_WEIGHT, weight.shape, x, g)


def conv2d(
    x: jt.Var, weight: jt.Var, bias: jt.Var | None, stride: int, padding: int, dilation: int, groups: int
) -> jt.Var:
    """x [N, C, H, W], weight [D, C / groups, h, w], bias [D] or None -> [N, D, ...]; both axes are treated alike."""
    if not fast(x, weight):
        return jt.nn.conv2d(x, weight, bias, stride, padding, dilation, groups)
    y = apply(_Conv2d(stride, padding, dilation, groups), x, weight)
    return y if bias is None else y + bias.broadcast(y, [0, 2, 3])
