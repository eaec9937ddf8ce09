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
    """The Jittor file may hold more: it adds what PyTorch has and Jittor lacks."""
    original, twin = outline(models("torch")[name]), outline(models("jittor")[name])
    assert [entry for entry in twin if entry in original] == original


# Files that both packages have beside the models. `framework.py` holds one class, which each names after itself.
SHARED = sorted({path.name for path in (ROOT / "torch_impl").glob("*.py")})
OWN = {  # functions that take other arguments, and why
    "optim.py": {"Optimizer.step"},  # PyTorch keeps a gradient with its parameter, Jittor hands the gradients over
    "state.py": {"copy_into"},  # Jittor has entries that are no Var and finds them in the model
}


def signatures(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Arguments of every function and method, in order: name and default, without the module that a default is from.

    Without `device`, `dtype` and `fused`: Jittor chooses the device itself, computes in float32 only and has one
    kernel where PyTorch offers two.
    """
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        inside = [("", node)] if isinstance(node, ast.Module) else []
        inside += [(f"{node.name}.", node)] if isinstance(node, ast.ClassDef) else []
        for prefix, owner in inside:
            for item in owner.body:
                if isinstance(item, ast.FunctionDef):
                    name = "forward" if item.name == "execute" else item.name
                    found[prefix.replace("TorchF", "F").replace("JittorF", "F") + name] = arguments(item.args)
    return found


def arguments(args: ast.arguments) -> list[tuple[str, str]]:
    """(name, default or "") of each argument."""
    given = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(given) - len(args.defaults)) + args.defaults
    both = [*zip(given, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    pairs = [(arg.arg, ast.unparse(default).removeprefix("nn.") if default else "") for arg, default in both]
    pairs += [(f"*{arg.arg}", "") for arg in (args.vararg, args.kwarg) if arg]
    return [pair for pair in pairs if pair[0] not in ("device", "dtype", "fused")]


def assert_same_arguments(original: Path, twin: Path, own: set[str]) -> int:
    """Compare the functions that both files have, without those of `own`; returns how many were compared."""
    first, second = signatures(original), signatures(twin)
    common = (set(first) & set(second)) - own
    assert {key: second[key] for key in common} == {key: first[key] for key in common}
    return len(common)


@pytest.mark.parametrize("name", sorted(set(models("torch")) & set(models("jittor"))))
def test_functions_of_twins_take_the_same_arguments(name):
    """`device`, `dtype` and `fused` are left out, for the reasons given at `signatures`."""
    assert_same_arguments(models("torch")[name], models("jittor")[name], set())


def test_functions_beside_the_models_take_the_same_arguments():
    """Signatures agree; the exceptions are listed in OWN with their reasons."""
    compared = {
        name: assert_same_arguments(ROOT / "torch_impl" / name, ROOT / "jittor_impl" / name, OWN.get(name, set()))
        for name in SHARED
    }
    assert compared["framework.py"] > 20
    assert all(compared[name] for name in ("boxes.py", "ema.py", "layers.py", "nms.py", "optim.py", "state.py"))


def test_every_exception_is_still_one():
    for name, functions in OWN.items():
        original, twin = signatures(ROOT / "torch_impl" / name), signatures(ROOT / "jittor_impl" / name)
        assert all(original[function] != twin[function] for function in functions)


def test_an_argument_of_another_name_order_or_default_is_seen(tmp_path):
    sources = ["def f(a, b=1): ...", "def f(b, a=1): ...", "def f(a, b=2): ...", "def f(a, *, b=1, c=3): ..."]
    seen = []
    for i, source in enumerate(sources):
        (tmp_path / f"{i}.py").write_text(source)
        seen.append(signatures(tmp_path / f"{i}.py")["f"])
    assert all(other != seen[0] for other in seen[1:])
