"""Layers that several detectors share. Parameter names are those of the official checkpoints."""

from itertools import pairwise

from jittor_impl import ops
from jittor_impl.runtime import jt

Var, nn = jt.Var, jt.nn
MASKED = -1e9  # Jittor compiles with finite arithmetic only; exp of this is 0 all the same


class Conv2d(nn.Conv2d):
    """Convolution with a square kernel; the same stride, padding and dilation along both axes."""

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, ...]."""
        stride, padding, dilation = self.stride[0], self.padding[0], self.dilation[0]
        return ops.conv2d(x, self.weight, self.bias, stride, padding, dilation, self.groups)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics, scale and shift are buffers: nothing is trained, nothing is updated.

    Has no `num_batches_tracked`, as the frozen norms of RT-DETR (r50, r101) and DETR.
    """

    buffers = ("weight", "bias", "running_mean", "running_var")

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = jt.ones(channels).stop_grad()
        self.bias = jt.zeros(channels).stop_grad()
        self.running_mean = jt.zeros(channels).stop_grad()
        self.running_var = jt.ones(channels).stop_grad()

    def execute(self, x: Var) -> Var:
        """[B, C, H, W] -> same shape."""
        return ops.affine_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps)


class BatchNorm2d(nn.Module):
    """Batch normalisation as torch.nn has it; Jittor's own keeps the biased variance and counts no batches."""

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = jt.ones(channels)
        self.bias = jt.zeros(channels)
        self.running_mean = jt.zeros(channels).stop_grad()
        self.running_var = jt.ones(channels).stop_grad()
        self.num_batches_tracked = 0

    def execute(self, x: Var) -> Var:
        """[B, C, H, W] -> same shape."""
        if self.is_training():
            y, mean, var = ops.batch_norm(x, self.weight, self.bias, self.eps)
            self.running_mean.update(self.running_mean + (mean - self.running_mean) * self.momentum)
            self.running_var.update(self.running_var + (var - self.running_var) * self.momentum)
            self.num_batches_tracked += 1
            return y
        return ops.affine_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps)


class EvalBatchNorm2d(BatchNorm2d):
    """Batch normalisation with its stored statistics in training too; scale and shift are trained."""

    def is_training(self) -> bool:
        """Stays in evaluation mode."""
        return False


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = jt.ones(channels)
        self.bias = jt.zeros(channels)

    def execute(self, x: Var) -> Var:
        """[..., C] -> same shape."""
        return ops.layer_norm(x, self.weight, self.bias, self.eps)


class GroupNorm(nn.Module):
    """Group normalisation; names as in torch.nn."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = jt.ones(channels)
        self.bias = jt.zeros(channels)

    def execute(self, x: Var) -> Var:
        """[B, C, H, W] -> same shape."""
        return ops.group_norm(x, self.groups, self.weight, self.bias, self.eps)


class Embedding(nn.Module):
    """Rows of a table; the row `padding_idx` gets no gradient."""

    def __init__(self, rows: int, dim: int, padding_idx: int | None = None):
        super().__init__()
        self.padding_idx = padding_idx
        self.weight = jt.init.gauss((rows, dim))
        if padding_idx is not None:
            self.weight[padding_idx] = 0

    def execute(self, index: Var) -> Var:
        """[...] int -> [..., dim]."""
        picked = self.weight[index]
        if self.padding_idx is None:
            return picked
        kept = (index != self.padding_idx).float32().unsqueeze(-1)
        return picked * kept + picked.detach() * (1 - kept)


class Identity(nn.Module):
    """Returns its argument."""

    def execute(self, x: Var) -> Var:
        return x


def activation(name: str | None) -> nn.Module:
    """ "relu", "silu", "gelu" (exact, with erf) or None for the identity."""
    return {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, None: Identity}[name]()


def resize_nearest(x: Var, size: tuple[int, int]) -> Var:
    """[B, C, H, W] -> [B, C, *size], row i from row floor(i * H / height)."""
    if (x.shape[2] * 2, x.shape[3] * 2) == tuple(size):
        return ops.upsample_nearest2x(x)
    return nn.interpolate(x, size=tuple(size), mode="nearest")


class AvgPool2d(nn.Module):
    """Mean of 2x2 places, sizes rounded up.

    At an odd border it is the mean of the places that exist. Jittor's own layer refuses maps of 2x2 or less.
    """

    def execute(self, x: Var) -> Var:
        """[B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)]."""
        if min(x.shape[2:]) > 2:
            return nn.avg_pool2d(x, 2, 2, 0, ceil_mode=True)
        for dim in (2, 3):  # the mean of one place at a border equals the mean of that place and its copy
            if x.shape[dim] % 2:
                x = jt.concat([x, x[:, :, -1:] if dim == 2 else x[:, :, :, -1:]], dim=dim)
        return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


class ConvNorm(nn.Module):
    """Convolution without bias, normalisation, activation. `norm` is the class of the normalisation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, act: str | None = None, norm=BatchNorm2d
    ):
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        self.norm = norm(out_channels)
        self.act = activation(act)

    def execute(self, x: Var) -> Var:
        """[B, in, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        return self.act(self.norm(self.conv(x)))


class Dropout(nn.Module):
    """Dropout whose mask comes from `draws` (see parity.data.draws), so that two frameworks drop the same elements.

    The detector hands its draws to every Dropout before a training forward (`give_draws`).
    """

    def __init__(self, p: float):
        super().__init__()
        self.p, self.draws = p, None

    def execute(self, x: Var) -> Var:
        if not self.is_training() or self.p == 0:
            return x
        keep = jt.array(self.draws.uniform(tuple(x.shape)) >= self.p)
        return x * keep.float32() / (1 - self.p)


def give_draws(model: nn.Module, draws) -> None:
    """Let every Dropout inside `model` draw from `draws`."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.draws = draws


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention over several heads, batch first; names and initial values are PyTorch's own.

    in_proj_weight [3E, E] holds the rows of query, key and value, one after the other.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.in_proj_weight = jt.init.xavier_uniform((3 * dim, dim))
        self.in_proj_bias = jt.zeros(3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        self.drop = Dropout(dropout)
        nn.init.constant_(self.out_proj.bias, 0.0)

    def execute(self, query: Var, key: Var, value: Var, mask: Var | None = None) -> tuple[Var, None]:
        """query [B, Q, E], key and value [B, K, E] -> ([B, Q, E], None).

        mask: bool, True where a query must not look at a key; [Q, K] for all, or [B, 1, Q or 1, K].
        The second element stands where the official module returns attention weights.
        """
        parts = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (
            nn.linear(x, w, b).reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(0, 2, 1, 3)
            for x, w, b in parts
        )
        scores = ops.bmm(q, k, transpose_b=True) * (q.shape[-1] ** -0.5)
        if mask is not None:
            scores = scores + mask.float32() * MASKED
        out = ops.bmm(self.drop(ops.softmax(scores)), v)
        return self.out_proj(out.transpose(0, 2, 1, 3).reshape(query.shape)), None

    def macs(self, query: Var, key: Var, value: Var, mask: Var | None = None) -> int:
        """Multiply-accumulates of the input projections, query * key and weights * value."""
        return (query.numel() + key.numel() + value.numel()) * self.dim + 2 * query.numel() * key.shape[1]


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(dims)])

    def execute(self, x: Var) -> Var:
        """[..., in] -> [..., out]."""
        for layer in self.layers[:-1]:
            x = nn.relu(layer(x))
        return self.layers[-1](x)
