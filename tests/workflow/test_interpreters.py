"""The Python of an environment is found, or the line says how to build it."""

import pytest
from interpreters import interpreter
from make_venv import venv_path

from parity.errors import UserError


@pytest.mark.parametrize(("name", "target"), [("torch", "envs"), ("export", "export-env")])
def test_an_environment_that_was_not_built_is_named_with_what_builds_it(tmp_path, name, target):
    (tmp_path / "envs").mkdir()
    spec = tmp_path / f"envs/{name}.yaml"
    spec.write_text("name: some\n")
    with pytest.raises(UserError, match=rf"bin/python: the environment of {name} is not there; `make {target}` builds"):
        interpreter(name, tmp_path)
    python = tmp_path / ".venvs" / venv_path(spec).name / "bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreter(name, tmp_path) == python
