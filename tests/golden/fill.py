"""Deterministic weights and inputs for the detector goldens (numpy only).

fill(keys)            -> {name: ndarray}; every value depends only on (name, shape, dtype) of its own key.
image_batch(seed, shape)
targets(seed, batch, num_classes, n_boxes)

Generator of a key: np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8")))).
Draws are made in float64 with shape = the key's shape (C order), scaled, then cast to float32
(or to the key's own float type).  Rules, first match wins:

  1. integer / bool dtype                         zeros (num_batches_tracked, ...)
  2. excluded keys (see SKIP)                     not in the result: leave the model's own table untouched
  3. name ends with running_mean                  N(0, 0.05)
  4. name ends with running_var                   U(0.8, 1.2)
  5. name ends with one of EMBED                  N(0, 1.0)
  6. name ends with "bias"
       gfl_cls[.i].bias (GFLv2, NanoDet heads)    N(-5.0, 0.3)
       enc_score_head / dec_score_head.i (RT-DETR) N(-4.0, 0.3)
       sampling_offsets.bias                      N(0, 1.0)
       parent component looks like a norm         N(0, 0.05)      (norm*, bn*, gn, *norm)
       any other                                  N(0, 0.02)
  7. 0-d, or 1-d (norm weights, scales)           U(lo, hi), (lo, hi) by GAIN1D, default (0.8, 1.2)
  8. 2-d weights (linear, attention)              N(0, g/fan_in),   fan_in = shape[1]
       name ends with in_proj_weight (packed q, k, v rows): g = 1 for the q and k rows; for the v rows
                 g = 4 when the name contains "multihead_attn" (DETR cross-attention), else g = 0.25
       g = 1     otherwise
  9. 4-d conv weights                             N(0, g/fan_in),   fan_in = shape[1]*kh*kw
       g = 0.1   name contains "input_proj"  (keeps what enters attention near unit size in eval mode)
       g = 0.5   depthwise (shape[1] == 1)
       g = 3     otherwise
  8b/9b. centring: when fan_in >= 16 and not depthwise, the standard-normal draw first has its mean over the
     fan-in axes subtracted (every output filter sums to zero).  Without it the positive mean of ReLU features
     makes all positions and all queries nearly equal, which would hide errors and create ties.
The smaller ranges in GAIN1D damp the last norm of residual branches, so that a 101-layer network with
non-normalising (running-statistics) norms keeps activations of order 1..30.
"""

import re
import zlib

import numpy as np

SKIP = (
    "anchors",
    "valid_mask",
    "pos_embed2",  # RT-DETR tables (not in the state dict anyway)
    "project",  # Integral.project = linspace(0, reg_max, reg_max+1)
    "empty_weight",  # criterion class weights
)
EMBED = ("query_embed.weight", "denoising_class_embed.weight", "tgt_embed.weight")
CLS_BIAS = (
    (re.compile(r"(enc_score_head|dec_score_head\.\d+)\.bias$"), -4.0),
    (re.compile(r"gfl_cls(\.\d+)?\.bias$"), -5.0),
)
NORM_PARENT = re.compile(r"^(norm\d*|bn\d*|gn\d*|.*norm)$")
GAIN1D = (
    (re.compile(r"(^|\.)bn3\.weight$"), (0.15, 0.25)),  # torchvision / mmdet bottleneck
    (re.compile(r"\.branch2[bc]\.norm\.weight$"), (0.3, 0.5)),  # PResNet blocks
    (re.compile(r"\.bottlenecks\.\d+\.conv[12]\.norm\.weight$"), (0.5, 0.7)),  # RepVGG pair of RT-DETR
)


def _rng(name):
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode("utf-8"))))


def fill_one(name, shape, dtype="float32"):
    """Value of one key, or None when the key is excluded."""
    shape = tuple(int(s) for s in shape)
    dtype = str(dtype).replace("torch.", "")
    if not dtype.startswith(("float", "bfloat")):
        return np.zeros(shape, dtype=np.int64 if dtype == "int64" else np.dtype(dtype))
    parts = name.split(".")
    last, parent = parts[-1], (parts[-2] if len(parts) > 1 else "")
    if last in SKIP:
        return None
    g = _rng(name)
    if last == "running_mean":
        v = 0.05 * g.standard_normal(shape)
    elif last == "running_var":
        v = g.uniform(0.8, 1.2, shape)
    elif name.endswith(EMBED):
        v = 1.0 * g.standard_normal(shape)
    elif last.endswith("bias"):
        cls = [mean for pat, mean in CLS_BIAS if pat.search(name)]
        if cls:
            v = cls[0] + 0.3 * g.standard_normal(shape)
        elif name.endswith("sampling_offsets.bias"):
            v = 1.0 * g.standard_normal(shape)
        elif NORM_PARENT.match(parent):
            v = 0.05 * g.standard_normal(shape)
        else:
            v = 0.02 * g.standard_normal(shape)
    elif len(shape) <= 1:
        lo, hi = 0.8, 1.2
        for pat, rng in GAIN1D:
            if pat.search(name):
                lo, hi = rng
                break
        v = g.uniform(lo, hi, shape)
    else:
        fan_in = int(np.prod(shape[1:]))
        v = g.standard_normal(shape)
        depthwise = len(shape) == 4 and shape[1] == 1
        if fan_in >= 16 and not depthwise:
            v = v - v.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        if len(shape) == 2:
            gain = np.ones((shape[0], 1))
            if name.endswith("in_proj_weight"):  # rows: q, k, v
                e = shape[0] // 3
                gain[2 * e :] = 4.0 if "multihead_attn" in name else 0.25
        else:
            gain = 0.1 if "input_proj" in name else (0.5 if depthwise else 3.0)
        v = v * np.sqrt(gain / fan_in)
    return np.asarray(v, dtype=np.float64 if dtype == "float64" else np.float32)


def fill(keys):
    """keys: iterable of (name, shape, dtype); returns {name: ndarray} without the excluded keys."""
    out = {}
    for name, shape, dtype in keys:
        v = fill_one(name, shape, dtype)
        if v is not None:
            out[name] = v
    return out


def image_batch(seed, shape):
    """float32 [B, C, H, W] in [0, 1]: blocks of 32 px and of 8 px plus pixel noise (not pure white noise,
    so that deep features differ between positions).  For models fed with normalised images use
    (image_batch(...) - 0.5) / 0.25."""
    b, c, h, w = shape
    g = np.random.Generator(np.random.PCG64(int(seed)))
    x = np.full(shape, 0.5)
    for cell, amp in ((32, 0.16), (8, 0.10), (1, 0.06)):
        n = g.standard_normal((b, c, -(-h // cell), -(-w // cell)))
        n = np.repeat(np.repeat(n, cell, axis=2), cell, axis=3)[:, :, :h, :w]
        x = x + amp * n
    return np.clip(x, 0.0, 1.0).astype(np.float32)


def targets(seed, batch, num_classes, n_boxes):
    """list (length batch) of {"boxes": float32 [n, 4] normalised cx, cy, w, h; "labels": int64 [n]}.
    n_boxes: an int, or one int per image (0 allowed).  Boxes lie inside [0.02, 0.98]."""
    ns = [int(n_boxes)] * batch if np.isscalar(n_boxes) else [int(n) for n in n_boxes]
    assert len(ns) == batch
    g = np.random.Generator(np.random.PCG64(int(seed)))
    out = []
    for n in ns:
        wh = g.uniform(0.08, 0.6, (n, 2))
        lo = 0.02 + wh / 2
        c = lo + g.uniform(0.0, 1.0, (n, 2)) * (0.98 - wh / 2 - lo)
        labels = g.integers(0, num_classes, (n,)).astype(np.int64)
        out.append({"boxes": np.concatenate([c, wh], 1).astype(np.float32).reshape(n, 4), "labels": labels})
    return out


def projection(name, shape):
    """Fixed N(0,1) float64 vector of a parameter, for the stored <gradient, projection> numbers."""
    g = np.random.Generator(np.random.PCG64(zlib.crc32(("proj:" + name).encode("utf-8"))))
    return g.standard_normal(tuple(shape))
