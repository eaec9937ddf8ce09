"""Build a virtualenv from a conda environment file: its python version and its pip section.

    python workflow/scripts/make_venv.py envs/torch.yaml .venvs/torch-1a2b3c4d
    python workflow/scripts/make_venv.py envs/torch.yaml            # prints the path that belongs to the file

A file with the line `# extends: torch.yaml` lists everything of that file and more. Its virtualenv finds the packages
of the other one, which is built first: PyTorch then lies on the disk once.

Standard library only, because it also builds the environment that Snakemake itself runs in. Safe to call twice at
once (a lock file), and after an interruption (`.ready` is written last).
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "envs/lock.txt"  # versions of the packages that the pinned ones bring along


def venv_path(spec: Path) -> Path:
    """`.venvs/<name>-<first 8 digits of the file's SHA-256>`: a changed file is another environment."""
    return ROOT / ".venvs" / f"{spec.stem}-{hashlib.sha256(spec.read_bytes()).hexdigest()[:8]}"


def requirements(spec: Path) -> tuple[str | None, list[str]]:
    """The `python=X.Y` pin (or None) and the inline pip requirements of an environment file."""
    python, pip, inside = None, [], False
    for line in spec.read_text().splitlines():
        item = re.match(r"\s*-\s*(.+?)\s*(#.*)?$", line)
        if not item:
            continue
        if pinned := re.match(r"python\s*=+\s*(\d+\.\d+)", item[1]):
            python = pinned[1]
        elif item[1] == "pip:":
            inside = True
        elif inside:
            pip.append(item[1])
    return python, pip


def extended(spec: Path) -> Path | None:
    """The environment file that a file extends, or None. Exits unless everything of it is in the file as well."""
    found = re.search(r"^# extends: (\S+)$", spec.read_text(), re.M)
    if found is None:
        return None
    base = spec.with_name(found[1])
    lacking = set(requirements(base)[1]) - set(requirements(spec)[1])
    if lacking:
        sys.exit(f"{spec}: extends {base.name} but lacks {', '.join(sorted(lacking))}")
    return base


def site_packages(venv: Path) -> Path:
    """Where a virtualenv keeps its packages."""
    return next(venv.glob("lib/python*/site-packages"))


def make(spec: Path, target: Path) -> None:
    """Create the virtualenv unless it is complete; raises CalledProcessError when pip fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{target}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / ".ready").exists():
            return
        shutil.rmtree(target, ignore_errors=True)
        base = extended(spec)
        if base is not None:
            make(base, venv_path(base))
        wanted, pip = requirements(spec)
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        python = sys.executable if wanted in (None, running) else shutil.which(f"python{wanted}")
        if python is None:
            sys.exit(f"{spec}: needs python{wanted}, which is not on PATH")
        print(f"building {target.name} from {spec.name} ({len(pip)} packages)", file=sys.stderr, flush=True)
        subprocess.run([python, "-m", "venv", target], check=True)
        if base is not None:  # pip then finds the packages of the other one installed
            (site_packages(target) / "extended.pth").write_text(f"{site_packages(venv_path(base))}\n")
        install = [target / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        constraints = ["--constraint", str(LOCK)] if LOCK.exists() else []
        subprocess.run([*install, *constraints, *pip], check=True)
        (target / ".ready").touch()


if __name__ == "__main__":
    spec_file = Path(sys.argv[1])
    if len(sys.argv) > 2:
        make(spec_file, Path(sys.argv[2]))
    else:
        print(venv_path(spec_file))
