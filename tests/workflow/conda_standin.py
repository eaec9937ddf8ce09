"""Stands in for conda where there is none: answers what Snakemake 9 asks of it (deployment/conda.py), nothing more.

An environment is a bare virtualenv that sees the packages of the environment the tests run in. This tests that rules
name their environments and that the answers arrive, and is no test with conda.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

BASE = Path(__file__).absolute().parents[1]  # <base>/bin/conda


def create(prefix: Path, spec: Path) -> None:
    """Make a prefix from an environment file that is shaped as the project's are."""
    dependencies = yaml.safe_load(spec.read_text())["dependencies"]
    assert any(str(entry).startswith("python=") for entry in dependencies), f"{spec}: pins no python"
    assert any(isinstance(entry, dict) and entry["pip"] for entry in dependencies), f"{spec}: has no pip section"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    (packages,) = prefix.glob("lib/python*/site-packages")
    (here,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (packages / "standin.pth").write_text(f"{here}\n")
    (prefix / "made-from").write_text(spec.read_text())
    (prefix / "constraints").write_text(os.environ["PIP_CONSTRAINT"])  # what pip would read


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--version"]:
            print("conda 24.7.1")
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(BASE), "platform": "linux-64"}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *options]:
            create(Path(options[options.index("--prefix") + 1]), Path(options[options.index("--file") + 1]))
        case ["clean", *_]:
            pass
        case other:
            sys.exit(f"conda stand-in: not supported: {other}")
