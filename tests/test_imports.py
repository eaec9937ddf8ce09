"""Imports run one way: the twins import parity, parity imports neither of them and no framework.

Read from the source, so that nothing has to be installed and an import inside a function counts too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "parity": {"torch", "jittor", "torch_impl", "jittor_impl", "workflow", "snakemake"},
    "torch_impl": {"jittor", "jittor_impl", "workflow", "snakemake"},
    "jittor_impl": {"torch", "torch_impl", "workflow", "snakemake"},
    "workflow/scripts": {"torch", "jittor", "torch_impl", "jittor_impl"},
}
FILES = [(package, path) for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]


def imported(source: str) -> set[str]:
    """Top-level names of everything that a source imports, in functions and by `import_module("...")` too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(("package", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES])
def test_imports_run_one_way(package, path):
    assert not imported(path.read_text()) & FORBIDDEN[package]


def test_every_package_has_files_to_look_at():
    assert {package for package, _ in FILES} == set(FORBIDDEN)


@pytest.mark.parametrize(
    "source",
    ["import torch.nn as nn", "from torch import nn", "def f():\n    import torch", "import_module('torch.nn')"],
)
def test_a_forbidden_import_is_seen(source):
    assert "torch" in imported(source)


# The floors of `parity`, from the ground up. A module imports from its own floor and from those below it.
FLOORS = (
    {"errors", "files", "arrays", "compiler", "sources", "events"},
    {"config", "framework"},
    {"data"},
    {"weights", "draw"},
    {"train"},
    {"align", "measure", "detect"},
    {"compare"},
    {"logs", "export"},
    {"report"},
    {"study"},
    {"cli"},
)
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
PARITY = [path.relative_to(ROOT / "parity") for path in sorted((ROOT / "parity").rglob("*.py"))]


def rooms(source: str) -> set[str]:
    """Rooms of `parity` that a source imports from: `data` for `from parity.data import coco`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "parity":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("parity."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("parity.")}
    return found


@pytest.mark.parametrize("path", [path for path in PARITY if path.name != "__init__.py" or path.parent.name], ids=str)
def test_imports_go_down(path):
    room = path.parts[0].removesuffix(".py")
    assert {other for other in rooms((ROOT / "parity" / path).read_text()) if HEIGHT[other] > HEIGHT[room]} == set()
