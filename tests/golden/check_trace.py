"""Compare an implementation's `trace` with the reference fixtures of this folder.

    python check_trace.py rtdetr_r18vd detr_r50 --python .venv/bin/python --module torch_impl --cwd PROJECT

For every variant folder it writes the deterministic weights (safetensors) and the inputs of each case (npz), runs
`PYTHON -m MODULE trace ...`, and compares OUT.npz with the fixtures.  It prints one line per check and exits 0 only if
every check passes.  A key that OUT.npz lacks is a failure, except `layer/*`, `grad/*` and `buffer_norm/*`, which are
compared when present.  What a case feeds and where its reference arrays lie is data: `cases.json` of each variant.
The comparison and its tolerances are in `compare_trace.py`.

From pytest: `rows = check_variant(folder, [python, "-m", "torch_impl"], cwd=...)`, then
`assert not failures(rows), table(rows)`.
Needs numpy and safetensors only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare_trace import Row, compare
from golden_inputs import write_inputs, write_weights


def run_trace(command, spec, case, mode, files, cwd, full_grads, timeout, alias):
    """Call the contract's `trace`; returns what went wrong, or None."""
    weights, inputs, out = files
    names = f"{spec['model']}/{spec['variant']}"
    model, variant = alias.get(names, names).split("/")
    argv = [
        *command,
        "trace",
        "--model",
        model,
        "--variant",
        variant,
        "--num-classes",
        str(spec["num_classes"]),
        "--weights",
        str(weights),
        "--inputs",
        str(inputs),
        "--out",
        str(out),
        "--mode",
        mode,
    ]
    if case["set"]:
        argv += ["--set"] + [f"{k}={json.dumps(v, separators=(',', ':'))}" for k, v in case["set"].items()]
    if mode == "train":
        argv += ["--steps", str(case["steps"]), "--grads", "full" if full_grads else "norm"]
    argv += ["--layers"] if case.get("layers") else []
    try:
        p = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError) as e:
        return f"{type(e).__name__}: {e}"
    if p.returncode or not out.exists():
        return f"exit {p.returncode}: {' | '.join(p.stderr.strip().splitlines()[-3:]) or 'no OUT.npz'}"
    return None


def check_variant(
    folder, command, cwd=None, workdir=None, only=("forward", "train"), full_grads=False, timeout=3600, alias=None
):
    """All rows of one variant. `only`: 'forward', 'train', or names of cases. Without `workdir` nothing is kept."""
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="trace-") as tmp:
            return check_variant(folder, command, cwd, tmp, only, full_grads, timeout, alias)
    folder = Path(folder).resolve()
    work = Path(workdir).resolve() / folder.name
    work.mkdir(parents=True, exist_ok=True)
    spec, meta = (json.loads((folder / f).read_text()) for f in ("cases.json", "meta.json"))
    forward, train, inter = (np.load(folder / f"{k}.npz") for k in ("forward", "train", "intermediates"))
    write_weights(folder, work / "weights.safetensors")
    rows = []
    for mode, group, ref in (("eval", "forward", forward), ("train", "train", train)):
        for case in (c for c in spec[mode] if group in only or c["name"] in only):
            files = work / "weights.safetensors", work / f"{case['name']}-in.npz", work / f"{case['name']}-out.npz"
            files[2].unlink(missing_ok=True)
            write_inputs(case, train, files[1])
            start = time.time()
            problem = run_trace(command, spec, case, mode, files, cwd, full_grads, timeout, alias or {})
            rows.append(
                Row(
                    folder.name,
                    case["name"],
                    "run",
                    1.0 if problem else 0.0,
                    0.0,
                    not problem,
                    problem or f"{time.time() - start:.0f} s",
                )
            )
            if not problem:
                rows += compare(folder.name, mode, case, meta, ref, inter, files[2])
    return rows


def failures(rows):
    return [r for r in rows if not r.ok]


def table(rows):
    lines = [f"{'variant':24} {'case':17} {'check':21} {'worst':>9} {'tolerance':>9}  verdict  where"]
    for r in rows:
        numbers = f"{r.worst:9.2g} {r.tol:9.2g}  {'ok' if r.ok else 'FAIL':7}"
        lines.append(f"{r.variant:24} {r.case:17} {r.check:21} {numbers}  {r.where}")
    return "\n".join(lines)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument(
        "variants", nargs="+", metavar="VARIANT_DIR", help="folders with keys.json, cases.json and the npz fixtures"
    )
    p.add_argument("--python", default=sys.executable, help="the interpreter that runs the implementation")
    p.add_argument("--module", required=True, help="module that offers `trace`, e.g. torch_impl")
    p.add_argument("--cwd", help="folder to run in (the project root)")
    p.add_argument("--workdir", help="keep weights, inputs and outputs here")
    p.add_argument("--only", default="forward,train", help="comma list of forward, train, or case names such as dn0")
    p.add_argument(
        "--full-grads", action="store_true", help="ask for `--grads full` and check the sign-sensitive projections"
    )
    p.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="MODEL/VARIANT=MODEL/VARIANT",
        help="other names for --model and --variant",
    )
    p.add_argument("--timeout", type=float, default=3600, help="seconds per trace")
    p.add_argument("--json", help="write the rows here")
    a = p.parse_args(argv)
    python = str(Path(a.python).absolute()) if Path(a.python).exists() else a.python
    rows, alias = [], dict(x.split("=", 1) for x in a.alias)
    for d in a.variants:
        rows += check_variant(
            d, [python, "-m", a.module], a.cwd, a.workdir, a.only.split(","), a.full_grads, a.timeout, alias
        )
    bad = failures(rows)
    print(table(rows) + f"\n\n{len(rows) - len(bad)} of {len(rows)} checks passed")
    for r in bad:
        print(f"FAIL {r.variant} {r.case} {r.check}: {r.where}")
    if a.json:
        Path(a.json).write_text(
            json.dumps([{k: None if v != v else v for k, v in r._asdict().items()} for r in rows], indent=1)
        )
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
