"""Where the Python of an environment is. Scripts call the frameworks with it, each in its own environment."""

from pathlib import Path

from make_venv import ROOT, venv_path

from parity.errors import UserError


def interpreter(environment: str, root: Path = ROOT) -> Path:
    """The Python of an environment of the project in `root`. Raises UserError where it was not built."""
    python = root / ".venvs" / venv_path(root / f"envs/{environment}.yaml").name / "bin/python"
    if not python.exists():
        target = "export-env" if environment == "export" else "envs"
        raise UserError(f"{python}: the environment of {environment} is not there; `make {target}` builds it")
    return python
