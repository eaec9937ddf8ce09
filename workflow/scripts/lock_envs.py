"""Write down every package of the environments, so that the same versions come back: `envs/lock.txt`.

    python workflow/scripts/lock_envs.py            # after `make envs export-env`

The environment files pin what the project itself uses; this file pins what those packages bring along, as they are
installed now. pip reads it as constraints, for virtualenvs and, through PIP_CONSTRAINT, for conda. To update: delete
the file, change the pins, `make envs export-env`, run this.
"""

import re
import subprocess
import sys
from pathlib import Path

from make_venv import LOCK, ROOT, venv_path

HEAD = (
    "# Every package of the environments as installed, written by workflow/scripts/lock_envs.py; constraints for pip.\n"
)


def installed(python: Path) -> dict[str, str]:
    """Name (lower case) -> version of everything that pip installed, without a build's local label (`+cpu`)."""
    command = [str(python), "-m", "pip", "freeze", "--disable-pip-version-check"]
    freeze = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^+\s]+)", freeze, re.M)
    return {re.sub(r"[._-]+", "-", name).lower(): version for name, version in pins}


def merged(environments: dict[str, dict[str, str]]) -> dict[str, str]:
    """One version of every package for all environments. Where they differ, something held the older one back."""
    lock: dict[str, str] = {}
    for packages in environments.values():
        for name, version in packages.items():
            lock[name] = min(lock.get(name, version), version, key=order)
    return dict(sorted(lock.items()))


def order(version: str) -> list[int]:
    """The numbers of a version, for comparison."""
    return [int(number) for number in re.findall(r"\d+", version)]


if __name__ == "__main__":
    found = {}
    for spec in sorted((ROOT / "envs").glob("*.yaml")):
        python = venv_path(spec) / "bin/python"
        if not python.exists():
            sys.exit(f"error: {spec.name}: its virtualenv is not there, run `make envs export-env` first")
        found[spec.stem] = installed(python)
    lines = [f"{name}=={version}\n" for name, version in merged(found).items()]
    LOCK.write_text(HEAD + "".join(lines))
    print(f"{LOCK.relative_to(ROOT)}: {len(lines)} packages of {', '.join(found)}")
