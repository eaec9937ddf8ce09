"""Compare one OUT.npz of `trace` with the reference arrays of a case: tolerances and checks (numpy only)."""

import re
from typing import NamedTuple

import fill as F
import numpy as np

# ------------------------------------------------------------------------------------------------ tolerances (README)
# The tolerance of a check is the larger of the number here and DRIFT_MARGIN x `drift` of the case (cases.json): what
# the official code itself moves by in float64 or with other convolution kernels, where that is not negligible.
DRIFT_MARGIN = 5
TOL = {
    "topk set": 0.01,  # share of the picked encoder positions that only one side picked (near ties at the cut)
    "topk order": 3,  # largest displacement of a common query; a near tie moves one by a place or two
    "det count": 0.01,  # relative difference of the number of detections of an image
    "det missing": 0.01,  # share of detections without a partner of equal label, score and box
    "det score": 5e-4,  # what counts as equal
    "det box": 2e-4,  # the same, as a share of the longer image side
    "layer": 3e-4,  # max abs error / max abs value of the tensor
    "layer cross_attn": 1e-3,  # sampling at computed places amplifies rounding
    "loss": 1e-4,  # relative, every component
    "total": 1e-4,  # relative
    "match": 0,  # differing (query, box) pairs
    "assign": 0,  # anchors or priors assigned differently
    "grad set": 0,  # parameters that have a gradient on one side only
    "grad_norm median": 1e-3,  # relative, over parameters
    "grad_norm worst": 1e-2,  # relative, per parameter
    "grad_norm noise": 1e-5,  # gradients that are rounding noise (meta.json): norm / largest norm of the model
    "grad_proj": 5e-2,  # |error of <gradient, projection>| / gradient norm; sees signs; only with full gradients
    # after optimiser steps: AdamW turns tiny gradients into full-size steps, a near tie in a matching flips
    "step_total[1]": 2e-3,
    "step_total[2]": 1e-2,
    "step_total[3]": 2e-2,  # relative, loss after 1, 2, 3 steps
    "step_grad_norm[1]": 2e-2,
    "step_grad_norm[2]": 1e-1,  # relative, before clipping, at step 2 and 3
    "delta_norm median": 1e-2,
    "delta_norm worst": 0.15,  # relative, per parameter
    "ema_delta_norm median": 1e-2,
    "ema_delta_norm worst": 0.15,
    "ema ratio": 5e-5,  # median over parameters of the relative error of (EMA change / parameter change)
    "buffer_norm median": 1e-3,
    "buffer_norm worst": 5e-2,  # relative, BatchNorm running statistics
}
# Raw outputs, absolute: the larger of this and OUTPUT_MARGIN x the official float32-float64 difference (`maxdiff`).
OUTPUT_FLOOR = {"pred_logits": 2e-4, "pred_boxes": 1e-4, "cls_score": 5e-5, "bbox_pred": 3e-4, "preds": 2e-4}
OUTPUT_MARGIN = 10
OPTIONAL_LOSS = re.compile(r"class_error|cardinality_error|/lvl\d+$")  # logged by the official code, not differentiated
NO_DELTA = re.compile(r"in_proj_bias$")  # its key part has a zero gradient, which AdamW turns into a random step


class Row(NamedTuple):
    variant: str
    case: str
    check: str
    worst: float
    tol: float
    ok: bool
    where: str


class Missing(Exception):
    """A key the contract asks for is not in OUT.npz."""


class Out:
    """OUT.npz; asking for an absent key raises Missing, a value that is not finite raises ValueError."""

    def __init__(self, path):
        self.npz = np.load(path)
        self.names = set(self.npz.files)

    def __contains__(self, key):
        return key in self.names

    def __getitem__(self, key):
        if key not in self.names:
            raise Missing(key)
        a = self.npz[key]
        if not np.isfinite(a).all():
            raise ValueError(f"{key} is not finite")
        return a

    def under(self, prefix):
        return sorted(k[len(prefix) :] for k in self.names if k.startswith(prefix))


def max_error(npz, name, a):
    """(max abs error, max abs reference) of a stored array or of its strided sample; NaN in `a` is left out."""
    full = name in npz.files
    ref, shape = (npz[name], npz[name].shape) if full else (npz[name + "@sample"], tuple(npz[name + "@shape"]))
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}, the reference {shape}")
    if not full:
        a = a.reshape(-1)[:: int(npz[name + "@stride"])][: ref.size]
    return float(np.nanmax(np.abs(a.astype(np.float64) - ref))), float(np.abs(ref).max())


class Checker:
    """Collects rows for one case. `ref` is forward.npz or train.npz of the variant, `out` the OUT.npz."""

    def __init__(self, variant, case, ref, out):
        self.variant, self.case, self.ref, self.out = variant, case, ref, out
        self.rows, self.tag, self.perm = [], case["name"], None

    def add(self, check, worst, where="", tol=None):
        tol = self.tolerance(check) if tol is None else tol
        self.rows.append(Row(self.variant, self.tag, check, float(worst), float(tol), bool(worst <= tol), where))

    def tolerance(self, check):
        return max(TOL[check], DRIFT_MARGIN * self.case.get("drift", {}).get(check, 0))

    def add_worst(self, check, pairs, tol=None):
        """pairs: (error, where). Nothing to compare adds no row."""
        pairs = list(pairs)
        if pairs:
            tol = self.tolerance(check) if tol is None else tol
            more = sum(e > tol for e, _ in pairs) - 1
            worst, where = max(pairs)
            self.add(check, worst, where + (f" (and {more} more)" if more > 0 else ""), tol)

    def spread(self, check, pairs):
        if pairs:
            self.add(check + " median", np.median([e for e, _ in pairs]), f"over {len(pairs)} tensors")
            self.add_worst(check + " worst", pairs)

    def attempt(self, check, fn, *args):
        """A missing key or a wrong shape becomes a failed row instead of a traceback."""
        try:
            fn(*args)
        except Missing as e:
            self.add(check, np.nan, f"missing from OUT.npz: {e}", np.nan)
        except (ValueError, IndexError, TypeError) as e:
            self.add(check, np.nan, f"cannot compare: {e}", np.nan)

    # ---- queries are named by the encoder position they were picked from (RT-DETR)
    def align(self):
        """perm[b][i] = place of reference query i among ours, -1 when we did not pick it."""
        if "topk" not in self.case:
            return
        self.ours = self.out["output/topk_ind" if "output/topk_ind" in self.out else "topk_ind"]
        self.theirs = self.ref[self.case["topk"]]
        if self.ours.shape != self.theirs.shape:
            raise ValueError(f"topk_ind has shape {self.ours.shape}, the reference {self.theirs.shape}")
        place = [{int(p): i for i, p in enumerate(row)} for row in self.ours]
        self.perm = np.array([[place[b].get(int(p), -1) for p in row] for b, row in enumerate(self.theirs)])
        lost = (self.perm < 0).mean(1)
        moved = np.where(self.perm < 0, 0, np.abs(self.perm - np.arange(self.perm.shape[1])))
        self.add("topk set", lost.max(), f"img{lost.argmax()}")
        self.add("topk order", moved.max(), f"{int((moved > 0).sum())} of {moved.size} queries moved")

    def reordered(self, a):
        """Queries (axis 1) in the reference's order; NaN where we did not pick that query."""
        if self.perm is None or a.ndim < 3 or a.shape[1] != self.perm.shape[1]:
            return a
        r = np.stack([a[b][self.perm[b]] for b in range(len(a))]).astype(np.float64)
        r[self.perm < 0] = np.nan
        return r

    # ---- forward
    def outputs(self):
        groups = {}
        for name, key in self.case["outputs"].items():
            err = max_error(self.ref, key, self.reordered(self.out["output/" + name]))[0]
            groups.setdefault(name.split("/")[0], []).append((err, name))
        for kind, rows in groups.items():
            self.add_worst(
                f"output {kind}",
                rows,
                max([OUTPUT_FLOOR[kind]] + [OUTPUT_MARGIN * self.case["maxdiff"][n] for _, n in rows]),
            )

    def detections(self):
        """Pair every reference detection with one of ours of the same label, score and box, in any order."""
        counts, missing = [], []
        for i, (h, w) in enumerate(self.case["sizes"]):
            g, p = self.case["detections"] % i, f"detections/img{i}/"
            if g + "/dets_xyxy_score" in self.ref.files:
                box, score = np.split(self.ref[g + "/dets_xyxy_score"], [4], axis=1)
            else:
                box, score = self.ref[g + "/boxes"], self.ref[g + "/scores"]
            score, label = score.reshape(-1), self.ref[g + "/labels"]
            if "detection_scale" in self.case:  # the fixture was scaled to another target size; the map is linear
                box = box * np.tile(self.case["detection_scale"][i], 2)
            ours = {k: self.out[p + k] for k in ("boxes", "scores", "labels")}
            free, lost = np.ones(len(ours["scores"]), bool), 0
            for b, s, c in zip(box, score, label, strict=False):
                far = np.abs(ours["boxes"].reshape(-1, 4) - b).max(1) / max(h, w)
                ok = (
                    free
                    & (ours["labels"] == c)
                    & (np.abs(ours["scores"] - s) <= TOL["det score"])
                    & (far <= TOL["det box"])
                )
                if ok.any():
                    free[np.flatnonzero(ok)[far[ok].argmin()]] = False
                else:  # the last places may swap with what was cut off
                    lost += int(s > score.min() + TOL["det score"])
            n = max(1, len(score))
            counts.append((abs(len(free) - len(score)) / n, f"img{i}: {len(free)}, reference {len(score)}"))
            missing.append((lost / n, f"img{i}: {lost} of {len(score)}"))
        self.add_worst("det count", counts)
        self.add_worst("det missing", missing)

    def layers(self, inter):
        rows = {"layer": [], "layer cross_attn": []}
        for name in dict.fromkeys(k.split("@")[0] for k in inter.files):  # in the order of execution
            if "layer/" + name not in self.out or self.out["layer/" + name].dtype == bool:
                continue
            a, full = self.out["layer/" + name], name in inter.files
            shape = inter[name].shape if full else tuple(inter[name + "@shape"])
            if a.shape != shape and a.ndim > 2 and a.swapaxes(0, 1).shape == shape:
                a = a.swapaxes(0, 1)  # batch-first instead of the official sequence-first
            try:
                err, ref = max_error(inter, name, self.reordered(a))
            except ValueError as e:
                err, ref, name = np.inf, 1, str(e)
            rows["layer cross_attn" if ".cross_attn" in name else "layer"].append((err / max(ref, 1e-6), name))
        for check, pairs in rows.items():
            first = [name for err, name in pairs if err > self.tolerance(check)][:1]
            if pairs:
                self.add(check, *max(pairs)) if not first else self.add(
                    check, max(pairs)[0], f"first in the network: {first[0]}"
                )

    # ---- losses and assignments
    def losses(self):
        pre, pairs = f"{self.tag}/loss/", []
        for key in (k for k in self.ref.files if k.startswith(pre)):
            name, r = key[len(pre) :], float(self.ref[key])
            if "loss/" + name in self.out or not OPTIONAL_LOSS.search(name):
                pairs.append((abs(float(self.out["loss/" + name]) - r) / max(abs(r), 1e-6), name))
        self.add_worst("loss", pairs)
        t, r = float(self.out["total"]), float(self.ref[f"{self.tag}/total"])
        self.add("total", abs(t - r) / abs(r), f"{t:.6g}, reference {r:.6g}")

    def assignment(self):
        pairs = []
        for i, want in enumerate(self.case.get("assign", [])):  # dense models: 0 or the number of the box
            ref, got = np.zeros(want["n"], np.int64), np.maximum(self.out[f"assign/img{i}"], 0)
            ref[[p for p, _ in want["positive"]]] = [box for _, box in want["positive"]]
            if got.shape != ref.shape:
                raise ValueError(f"assign/img{i} has shape {got.shape}, the reference {ref.shape}")
            bad = np.flatnonzero(got != ref)
            pairs.append(
                (
                    len(bad),
                    f"img{i}: {(ref > 0).sum()} positives" + (f", first difference at {bad[0]}" if len(bad) else ""),
                )
            )
        self.add_worst("assign", pairs)
        pairs, pre = [], f"{self.tag}/idx/"
        for key in (k for k in self.ref.files if k.startswith(pre) and k.endswith("/src")):  # set-prediction models
            name = key[len(pre) : -4]
            got, ref = (
                [self.out[f"match/{name}/{s}"] for s in ("src", "tgt")],
                [self.ref[f"{pre}{name}/{s}"] for s in ("src", "tgt")],
            )
            if self.perm is not None:
                b = int(name.split("img")[-1])
                got[0], ref[0] = self.ours[b][got[0]], self.theirs[b][ref[0]]
            got, ref = (set(zip(*(a.tolist() for a in x), strict=False)) for x in (got, ref))
            pairs.append((len(got ^ ref), name + (f": only ours {sorted(got - ref)[:2]}" if got != ref else "")))
        self.add_worst("match", pairs)

    # ---- gradients and optimiser steps
    def gradients(self, noise):
        names = self.ref[self.tag + "/grad_names"].tolist()
        norm, proj = (dict(zip(names, self.ref[f"{self.tag}/{k}"], strict=False)) for k in ("grad_norm", "grad_proj"))
        ours = {n: float(self.out["grad_norm/" + n]) for n in self.out.under("grad_norm/")}
        none = self.ref[self.tag + "/grad_none"].tolist()  # trainable, but not reached in this case
        odd = sorted(set(names) - set(ours)) + sorted(n for n in set(ours) - set(names) if n not in none or ours[n] > 0)
        self.add("grad set", len(odd), ", ".join(odd[:3]))
        both, top = [n for n in names if n in ours], max(norm.values())
        self.spread("grad_norm", [(abs(ours[n] - norm[n]) / norm[n], n) for n in both if n not in noise])
        self.add_worst("grad_norm noise", ((ours[n] / top, n) for n in both if n in noise))
        full = [
            (n, self.out["grad/" + n].astype(np.float64)) for n in both if "grad/" + n in self.out and n not in noise
        ]
        self.add_worst(
            "grad_proj", ((abs((g * F.projection(n, g.shape)).sum() - proj[n]) / norm[n], n) for n, g in full)
        )

    def steps(self):
        for check, key in (("step_total", "total_after_step"), ("step_grad_norm", "step_grad_norm_global")):
            r, a = self.ref[f"{self.tag}/{key}"], self.out[check]
            if a.shape != r.shape:
                raise ValueError(f"{check} has shape {a.shape}, the reference {r.shape}")
            for i in range(1, len(r)):  # entry 0 repeats `total` and the gradient norms
                self.add(f"{check}[{i}]", abs(a[i] - r[i]) / r[i], f"{a[i]:.6g}, reference {r[i]:.6g}")

    def changes(self, check, names, ref, skip, floor):
        """Median and worst relative error of per-tensor norms; what must not move (reference ~ 0) is checked so."""
        pairs, still = [], []
        for n, r, f in zip(names, ref, floor, strict=False):
            if n in skip or NO_DELTA.search(n):
                continue
            if r <= 1e-6 * f:
                still += [n] if f"{check}/{n}" in self.out and float(self.out[f"{check}/{n}"]) > 1e-5 * f else []
            else:
                pairs.append((abs(float(self.out[f"{check}/{n}"]) - r) / r, n))
        if still:
            self.add(check + " frozen", len(still), ", ".join(still[:3]), 0)
        self.spread(check, pairs)

    def deltas(self, noise):
        names, norm = self.ref[self.tag + "/param_names"].tolist(), self.ref[self.tag + "/param_norm_after3"]
        delta = self.ref[self.tag + "/param_delta_norm_after3"]
        self.changes("delta_norm", names, delta, noise, norm)
        if f"{self.tag}/ema_delta_norm_after3" in self.ref.files:
            ema = self.ref[f"{self.tag}/ema_delta_norm_after3"]
            self.changes("ema_delta_norm", names, ema, noise, norm)
            moved = [
                i
                for i, n in enumerate(names)
                if delta[i] > 1e-6 * norm[i] and n not in noise and float(self.out["delta_norm/" + n]) > 0
            ]
            ours = np.array(
                [
                    float(self.out["ema_delta_norm/" + names[i]]) / float(self.out["delta_norm/" + names[i]])
                    for i in moved
                ]
            )
            self.add("ema ratio", np.median(np.abs(ours * delta[moved] / ema[moved] - 1)), f"median over {len(moved)}")

    def buffers(self):
        ref = dict(
            zip(self.ref[self.tag + "/buffer_names"].tolist(), self.ref[self.tag + "/buffer_norm_after3"], strict=False)
        )
        names = [n for n in self.out.under("buffer_norm/") if n in ref]
        self.changes("buffer_norm", names, [ref[n] for n in names], (), [0] * len(names))


def compare(variant, mode, case, meta, ref, inter, out):
    """Rows of one case. `ref`: forward.npz (eval) or train.npz; `inter`: intermediates.npz; `out`: path of OUT.npz."""
    c = Checker(variant, case, ref, Out(out))
    c.attempt("topk", c.align)
    c.attempt("output", c.outputs)
    if mode == "eval":
        c.attempt("detections", c.detections)
        c.attempt("layer", c.layers, inter)
        return c.rows
    noise = set(meta["train"].get(case["name"], meta["train"])["grad_norm_f32_f64"]["noise_gradients"])
    c.attempt("loss", c.losses)
    c.attempt("match/assign", c.assignment)
    c.attempt("grad_norm", c.gradients, noise)
    c.attempt("steps", c.steps)
    c.attempt("delta_norm", c.deltas, noise)
    c.attempt("buffer_norm", c.buffers)
    return c.rows
