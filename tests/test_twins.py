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


def signatures(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Arguments of every function and method, in order: name and default, without the module that a default is from.

    Without `device` and `dtype`: Jittor chooses the device itself and computes in float32 only.
    """
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        inside = [("", node)] if isinstance(node, ast.Module) else []
        inside += [(f"{node.name}.", node)] if isinstance(node, ast.ClassDef) else []
        for prefix, owner in inside:
            for item in owner.body:
                if isinstance(item, ast.FunctionDef):
                    name = "forward" if item.name == "execute" else item.name
                    found[prefix + name] = arguments(item.args)
    return found


def arguments(args: ast.arguments) -> list[tuple[str, str]]:
    """(name, default or "") of each argument."""
    given = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(given) - len(args.defaults)) + args.defaults
    both = [*zip(given, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    pairs = [(arg.arg, ast.unparse(default).removeprefix("nn.") if default else "") for arg, default in both]
    pairs += [(f"*{arg.arg}", "") for arg in (args.vararg, args.kwarg) if arg]
    return [pair for pair in pairs if pair[0] not in ("device", "dtype")]


@pytest.mark.parametrize("name", sorted(set(models("torch")) & set(models("jittor"))))
def test_functions_of_twins_take_the_same_arguments(name):
    original, twin = signatures(models("torch")[name]), signatures(models("jittor")[name])
    common = set(original) & set(twin)
    assert {key: twin[key] for key in common} == {key: original[key] for key in common}


def test_an_argument_of_another_name_order_or_default_is_seen(tmp_path):
    sources = ["def f(a, b=1): ...", "def f(b, a=1): ...", "def f(a, b=2): ...", "def f(a, *, b=1, c=3): ..."]
    seen = []
    for i, source in enumerate(sources):
        (tmp_path / f"{i}.py").write_text(source)
        seen.append(signatures(tmp_path / f"{i}.py")["f"])
    assert all(other != seen[0] for other in seen[1:])
