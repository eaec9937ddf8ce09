"""Which source files decide what a command computes, found by reading imports; and a digest of what they say."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


@cache
def _names(text: str) -> tuple[str, ...]:
    """Dotted names of everything that a source may import, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def imports(root: Path, path: Path) -> Iterator[Path]:
    """Project modules that a file imports anywhere in it, as paths under `root`."""
    for name in _names(path.read_text()):
        place = root / name.replace(".", "/")
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def closure(root: Path, starts: Iterable[str | Path]) -> list[Path]:
    """Files that the given files need of `parity`, themselves included, sorted. `starts` are relative to `root`."""
    found: set[Path] = set()
    pending = [root / start for start in starts]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += [file for file in imports(root, path) if file.is_relative_to(root / "parity")]
    return sorted(found)


def framework_files(root: Path, framework: str, model: str, models: Iterable[str]) -> list[Path]:
    """The files of a framework without its other models and the export of them, relative to `root`, sorted."""
    foreign = {*models, "export"} - {model}
    files = [path.relative_to(root) for path in sorted((root / f"{framework}_impl").rglob("*.py"))]
    return [path for path in files if not foreign & {*path.parts, path.stem}]


def code_digest(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 (hex) of what files do.

    In Python, comments, docstrings and layout do not count. In other files every byte does.
    """
    sha = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        meaning = _meaning(content) if path.suffix == ".py" else hashlib.sha256(content).hexdigest()
        sha.update(f"{path.relative_to(root)}\0{meaning}\0".encode())
    return sha.hexdigest()


@cache
def _meaning(source: bytes) -> str:
    """A digest of a Python source without the parts that change no result."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
