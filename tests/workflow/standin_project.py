"""A copy of the project whose frameworks and scripts are stand-ins that only write the files they should.

Rules, configuration, schemas and the naming of runs are the real ones. The stand-ins keep the imports of what they
stand for (under `if False`), because rules depend on the sources that a script imports.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import filelock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from parity.align.files import STEPS, names  # noqa: E402
from parity.report.index import FIGURES, TABLES  # noqa: E402

ENV_FILE = "channels: [conda-forge]\ndependencies:\n  - python={}.{}\n  - pip:\n      - pip\n".format(*sys.version_info)

FRAMEWORK = '''"""Stands in for a framework: every verb writes its outputs."""
import json, os, sys, time
from pathlib import Path
if False:
    import parity.cli
PROBES, STEPS = {probes}, {steps}
begun = time.time()
verb, given = sys.argv[1], dict(zip(sys.argv[2::], sys.argv[3::]))
out = Path(given["--out"] if "--out" in given else given["--output"])
files = [out]
if verb == "train":
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    resumed = (out / "checkpoints/step").exists()
    with open(out / "metrics.jsonl", "a") as log:
        print(json.dumps({"resumed": resumed}), file=log)
    (out / "checkpoints/step").touch()
    (out / "best.safetensors").touch()
    if not resumed and "STANDIN_KILLED" in os.environ:
        os.kill(os.getpid(), 9)
    while not resumed and "STANDIN_WAITS" in os.environ:
        time.sleep(0.2)
    if f"framework: {os.environ.get('STANDIN_FAILS')}\\n" in Path(given["--config"]).read_text():
        sys.exit("stand-in: told to fail")
    average = [] if "ema: null" in Path(given["--config"]).read_text() else ["ema.safetensors"]
    names = ("last.safetensors", *average, "coco.json", "detections.json", "states.npz", "run.json")
    files = [out / name for name in names]
if verb == "probe":
    files = [out / name for name in PROBES["--reference" not in given, given["--trajectory"] != "0"]]
if verb == "steps":
    files = [out / name for name in STEPS]
for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
if verb == "convert":
    Path(f"{out}.report.json").write_text("{}")
if "STANDIN_SPANS" in os.environ:
    time.sleep(0.4)
    if out.name == os.environ.get("STANDIN_STOPS"):
        sys.exit("stand-in: told to stop")
    if verb == "profile":
        out.write_text(json.dumps({"span": [begun, time.time()]}))
    with open(os.environ["STANDIN_SPANS"], "a") as log:
        print(json.dumps([verb, begun, time.time()]), file=log)
'''

PROBES = {(first, trajectory): names(first, trajectory) for first in (True, False) for trajectory in (True, False)}

SCRIPT = '''"""Stands in for a script: writes its outputs."""
import sys
from pathlib import Path
if False:
    {imports}
out = Path(sys.argv[sys.argv.index("--out") + 1])
for name in {names!r}:
    file = out if name == "." else out / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{{}}")
'''

ALIGN = '''"""Stands in for the comparison: the ladder passes unless it is told to fail."""
import json, os, sys
from pathlib import Path
if False:
    {imports}
verdict = os.environ.get("STANDIN_LADDER", "pass")
rung = {{"rung": 6, "name": "gradients", "verdict": verdict, "worst": 0.5, "tolerance": 0.001, "measure": "peak"}}
rung |= {{"expected": {{"parameters": 3}}, "compared": {{"parameters": 3}}, "where": "decoder.fake.weight[0]: 1 and 2"}}
about = {{"model": "rtdetr", "variant": "tiny", "frameworks": ["torch", "jittor"], "verdict": verdict, "rungs": [rung]}}
Path(sys.argv[sys.argv.index("--out") + 1]).write_text(json.dumps(about))
'''

SCRIPTS = {
    "make_dataset": ["manifest.json", "annotations/val.json"],
    "make_figures": [f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")],
    "make_report": ["report.md", "report.html", *(f"tables/{name}.csv" for name in TABLES)],
    "make_summary": [
        *("report.md", "report.html", "overview.csv", "verdicts.csv", "conditions.csv"),
        *("figures/pareto.png", "figures/pareto.svg"),
    ],
    "evaluate": ["."],
    "whole_run": ["."],
}


class Project:
    """A checkout in a temporary folder, and Snakemake in it. It has two models."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "workflow", "config", "envs", "parity", "reports"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy(ROOT / name, folder / name)
        (folder / "profiles").symlink_to("workflow/profiles")
        model = (folder / "config/models/rtdetr.yaml").read_text()
        shutil.rmtree(folder / "config/models")
        (folder / "config/models").mkdir()
        for name in ("rtdetr", "fakedet"):
            (folder / f"config/models/{name}.yaml").write_text(model)
        for framework in ("torch", "jittor"):
            package = folder / f"{framework}_impl"
            (package / "models").mkdir(parents=True)
            (package / "__init__.py").touch()
            for name in ("rtdetr", "fakedet"):
                (package / f"models/{name}.py").touch()
            (package / "__main__.py").write_text(
                FRAMEWORK.replace("{probes}", repr(PROBES)).replace("{steps}", repr(STEPS))
            )
            (folder / f"envs/{framework}.yaml").write_text(f"# {framework}\n{ENV_FILE}")
        for name, outputs in (SCRIPTS | {"align": None}).items():
            script = folder / f"workflow/scripts/{name}.py"
            imports = "; ".join(re.findall(r"^(?:from|import) parity.*", script.read_text(), re.M))
            text = SCRIPT.format(imports=imports, names=outputs) if outputs else ALIGN.format(imports=imports)
            script.write_text(text)
        # The frameworks' environments hold filelock; the ones of this project are empty.
        shutil.copytree(Path(filelock.__file__).parent, folder / "filelock")
        workflow_env = subprocess.run(
            [sys.executable, "workflow/scripts/make_venv.py", "envs/workflow.yaml"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        Path(workflow_env).parent.mkdir()
        Path(workflow_env).symlink_to(sys.prefix)

    def snakemake(self, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
        """Run Snakemake in the project, or in `cwd`; stdout and stderr come back as one text."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(
            command,
            cwd=cwd or self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )

    def jobs(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run would do; rules that only collect targets are left out."""
        run = self.snakemake("-n", *arguments)
        assert run.returncode == 0, run.stdout
        table = re.search(r"Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)", run.stdout)
        rows = dict(line.split() for line in table[1].splitlines()) if table else {}
        return {rule: int(count) for rule, count in rows.items() if rule not in ("default_report", "all", "total")}
