"""The models of both frameworks are twins: the same files, and what is in them in the same order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def models(framework: str) -> dict[str, Path]:
    """Files of a framework's models by their path inside it."""
    folder = ROOT / f"{framework}_impl/models"
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.py"))}


def outline(path: Path) -> list[str]:
    """Classes with their methods, and functions, in the order of the file; private helpers are each twin's own."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found.append(node.name)
            found += [f"{node.name}.{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)]
        elif isinstance(node, ast.FunctionDef):
            found.append(node.name)
    renamed = {"execute": "forward"}  # Jittor's name for it
    names = [".".join(renamed.get(part, part) for part in name.split(".")) for name in found]
    return [name for name in names if not name.split(".")[-1].startswith("_") or name.endswith("__init__")]


def test_twins_have_the_same_files():
    assert models("torch")
    assert list(models("torch")) == list(models("jittor"))


@pytest.mark.parametrize("name", sorted(set(models("torch")) & set(models("jittor"))))
def test_a_twin_has_everything_in_the_same_order(name):
    """What PyTorch brings along and Jittor lacks stands in the Jittor file in addition."""
    original, twin = outline(models("torch")[name]), outline(models("jittor")[name])
    assert [entry for entry in twin if entry in original] == original
