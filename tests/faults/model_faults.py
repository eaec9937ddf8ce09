"""Mistakes inside a network: normalisation, attention, resizing, padding, weights in the wrong place."""

from typing import Any

from planting import Fault, altered, built, images, method, operator, option, replaced

# The first convolution of every model, where only its input is wrong: what comes before the network.
INPUT = (r"backbone\.(0\.body\.)?conv1(\.conv1_1\.conv|\.0)? \(its input differs",)
NORM = (r"\(batch norm",)  # what a message calls a module of that kind
R, D, G, N = "rtdetr", "detr", "gfocalv2", "nanodet"


def jittor() -> Any:
    """The module `jittor`, which only Jittor's environment has."""
    from jittor_impl.runtime import jt

    return jt


def _norm(eps: float = 1e-5, momentum: float = 0.1):
    return lambda f: lambda self, channels: f(self, channels, eps, momentum)


def _biased(f):
    def batch_norm(x, weight, bias, eps):
        y, mean, var = f(x, weight, bias, eps)
        count = x.numel() // x.shape[1]
        return y, mean, var * ((count - 1) / count)

    return batch_norm


def _aligned(f):
    """A grid whose ends are the centres of the outer pixels, for an operator that takes their outer sides."""

    def grid_sample(plane, grid):
        jt, (h, w) = jittor(), plane.shape[2:]
        size = jt.array([float(w), float(h)])
        return f(plane, ((grid + 1) * (size - 1) + 1) / size - 1)

    return grid_sample


def _aligned_upsampling(f):
    return lambda x: jittor().nn.interpolate(
        x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bilinear", align_corners=True
    )


def _bilinear(f):
    return lambda x, size: jittor().nn.interpolate(x, size=tuple(size), mode="bilinear")


def _shifted(module: Any) -> None:
    """Pad at the right and below only: what "SAME" means elsewhere, for a stride of 2 and an even size."""
    jt, original = jittor(), module.execute

    def execute(x):
        moved = jt.concat([x[:, :, 1:], x[:, :, -1:] * 0], 2)
        return original(jt.concat([moved[:, :, :, 1:], moved[:, :, :, -1:] * 0], 3))

    module.execute = execute


def _mode(training: bool):
    """Every BatchNorm stays in one mode."""

    def change(model: Any) -> None:
        for module in model.modules():
            if type(module).__name__ == "BatchNorm2d":
                module.is_training = lambda: training

    return built(change)


def _transposed_layer(layer: Any) -> None:
    layer.execute = lambda x: jittor().nn.linear(x, layer.weight.transpose(), layer.bias)


def _transposed(name: str):
    def load(original, self, arrays):
        original({n: a.T.copy() if n == name else a for n, a in arrays.items()})

    return method("load_state", load)


def _tied(model: Any) -> None:
    heads = model.decoder.dec_bbox_head
    heads[1].layers[0].weight = heads[0].layers[0].weight


def _thawed(model: Any) -> None:
    for parameter in model.backbone.conv1.parameters():
        parameter.start_grad()


def _tanh(f):
    def activation(name):
        jt = jittor()

        class Tanh(jt.nn.Module):
            def execute(self, x):
                return 0.5 * x * (1 + jt.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))

        return Tanh() if name == "gelu" else f(name)

    return activation


def _points_first(f):
    """Softmax over the points of each level by itself; x [B, Q, heads, levels * 4]."""
    return lambda x: f(x.reshape([*x.shape[:3], -1, 4])).reshape(x.shape)


def _bins_inside(f):
    """Bins and sides exchanged in [B, 4 * bins, H, W]."""

    def statistics(logits, bins, top, mean):
        b, _, h, w = logits.shape
        turned = logits.reshape([b, bins, 4, h, w]).transpose(0, 2, 1, 3, 4).reshape(logits.shape)
        return f(turned, bins, top, mean)

    return statistics


def _unscaled(f):
    return lambda a, b, **kind: f(a, b, **kind) * (a.shape[-1] ** 0.5 if kind else 1)


MODEL = [
    Fault(
        "BatchNorm: epsilon 1e-3 for 1e-5",
        replaced("layers:BatchNorm2d.__init__", _norm(eps=1e-3)),
        NORM,
        (R, D, G, N),
    ),
    Fault(
        "BatchNorm: momentum 0.01 for 0.1",
        replaced("layers:BatchNorm2d.__init__", _norm(momentum=0.01)),
        ("running_",),
        (R, N),
    ),
    Fault(
        "BatchNorm: biased variance in the statistics",
        operator("layers", "batch_norm", _biased),
        ("running_var",),
        (R, N),
    ),
    Fault(
        "BatchNorm: stored statistics used in training",
        _mode(False),
        (r"in training the first module that differs is backbone\.conv1\.(conv1_1\.norm|1)",),
        (R, N),
    ),
    Fault("BatchNorm: batch statistics used in evaluation", _mode(True), NORM, (R, D)),
    Fault(
        "BatchNorm: norm_eval ignored",
        replaced("layers:EvalBatchNorm2d.is_training", lambda f: lambda self: self.is_train),
        ("running_",),
        (G,),
    ),
    Fault(
        "LayerNorm: epsilon 1e-3 for 1e-5",
        replaced("layers:LayerNorm.__init__", lambda f: lambda self, channels: f(self, channels, 1e-3)),
        (r"\(layer norm",),
        (R, D),
    ),
    Fault(
        "GroupNorm: half as many groups",
        replaced("layers:GroupNorm.__init__", lambda f: lambda self, groups, channels: f(self, groups // 2, channels)),
        (r"\.gn \(",),
        (G,),
    ),
    Fault(
        "align_corners in the sampling of deformable attention",
        operator("models.rtdetr.deformable", "grid_sample", _aligned),
        ("cross_attn",),
        (R,),
    ),
    Fault(
        "x and y exchanged in the sampling of deformable attention",
        operator(
            "models.rtdetr.deformable",
            "grid_sample",
            lambda f: lambda plane, grid: f(plane, jittor().stack([grid[..., 1], grid[..., 0]], -1)),
        ),
        ("cross_attn",),
        (R,),
    ),
    Fault(
        "softmax over the points of each level in deformable attention",
        operator("models.rtdetr.deformable", "softmax", _points_first),
        ("cross_attn",),
        (R,),
    ),
    Fault(
        "align_corners in the upsampling of the neck",
        operator("models.nanodet.neck", "upsample_bilinear2x", _aligned_upsampling),
        (r"divergence: fpn \(",),
        (N,),
    ),
    Fault(
        "nearest for bilinear in the neck",
        operator(
            "models.nanodet.neck",
            "upsample_bilinear2x",
            lambda f: lambda x: jittor().nn.interpolate(x, scale_factor=2, mode="nearest"),
        ),
        (r"divergence: fpn \(",),
        (N,),
    ),
    Fault(
        "bilinear for nearest in the encoder",
        replaced("models.rtdetr.encoder:resize_nearest", _bilinear),
        (r"divergence: encoder \(",),
        (R,),
    ),
    Fault(
        "bilinear for nearest in the neck",
        replaced("models.gfocalv2.neck:resize_nearest", _bilinear),
        (r"divergence: neck \(",),
        (G,),
    ),
    Fault(
        "first convolution padded at the right and below only",
        built(lambda model: _shifted(model.backbone.conv1.conv1_1.conv)),
        ("backbone.conv1.conv1_1.conv",),
        (R,),
    ),
    Fault(
        "pooling padded at the right and below only",
        built(lambda model: _shifted(model.backbone.maxpool)),
        ("backbone.maxpool",),
        (G,),
    ),
    Fault(
        "softmax of the attention over the queries",
        operator("layers", "softmax", lambda f: lambda x: f(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)),
        ("self_attn",),
        (R, D),
    ),
    Fault("attention not divided by the root of the width", operator("layers", "bmm", _unscaled), ("self_attn",), (D,)),
    Fault(
        "position added to the value of the attention",
        replaced(
            "layers:MultiheadAttention.execute", lambda f: lambda self, q, k, v, mask=None: f(self, q, k, k, mask)
        ),
        ("self_attn",),
        (D,),
    ),
    Fault(
        "GELU with tanh for erf",
        replaced("models.transformer:activation", _tanh),
        ("encoder.encoder.0.layers.0.act",),
        (R,),
    ),
    Fault(
        "slope of LeakyReLU 0.01 for 0.1",
        replaced("models.nanodet.layers:SLOPE", lambda _: 0.01),
        (r"divergence: backbone\.conv1",),
        (N,),
    ),
    Fault(
        "channels not shuffled",
        operator("models.nanodet.backbone", "interleave", lambda f: lambda a, b: jittor().concat([a, b], 1)),
        ("divergence: backbone",),
        (N,),
    ),
    Fault(
        "position table: temperature 20 for 10 000",
        option("pe_temperature", 20),
        (r"divergence: encoder \(", r"divergence: backbone\.1 "),
        (R, D),
    ),
    Fault("4 attention heads for 8 in the encoder", option("encoder_heads", 4), ("self_attn",), (R,)),
    Fault(
        "anchors of 0.04 for 0.05 of the image",
        replaced("models.rtdetr.decoder:make_anchors", lambda f: lambda shapes: f(shapes, 0.04)),
        (r"divergence: decoder \(",),
        (R,),
    ),
    Fault(
        "inverse sigmoid: epsilon 1e-3 for 1e-5",
        replaced("models.rtdetr.decoder:inverse_sigmoid", lambda f: lambda x: f(x, 1e-3)),
        ("loss_bbox_dn_",),  # only a box as wide or as high as the image is clipped, and only noise makes such boxes
        (R,),
        probe="whole",
    ),
    Fault(
        "queries picked by the score of the first class",
        altered("max", "places = ops.topk(", lambda original, scores, axis: scores[..., 0]),
        ("queries picked",),
        (R,),
    ),
    Fault(
        "sides and bins exchanged in the quality predictor",
        replaced("models.gfocalv2.head:top_statistics", _bins_inside),
        (r"bbox_head\.reg_conf",),
        (G,),
    ),
    Fault("weight transposed by loading", _transposed("decoder.enc_output.0.weight"), ("decoder.enc_output.0",), (R,)),
    Fault(
        "weight used transposed",
        built(lambda model: _transposed_layer(model.decoder.enc_output[0])),
        ("decoder.enc_output.0",),
        (R,),
    ),
    Fault("weights of two box heads tied", built(_tied), (r"dec_bbox_head\.[01]\.layers\.0\.weight",), (R,)),
    Fault("frozen stem trained", built(_thawed), ("backbone.conv1",), (R,)),
    Fault("frozen stage trained", option("frozen_stages", 0), ("backbone.layer1",), (G,)),
    Fault("channels in the order BGR", images(lambda x: x[:, ::-1].copy()), INPUT, (R, D, G, N)),
    Fault("pixels not divided by 255", images(lambda x: 255 * x), INPUT, (R, N)),
    Fault("deviation of ImageNet not divided by", images(lambda x: 0.226 * x), INPUT, (D,)),
]
