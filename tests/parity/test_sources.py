"""Source files that a command needs, and a digest that follows what they do."""

import pytest

from parity.sources import closure, code_digest, framework_files

CODE = '"""Says."""\nfrom parity import b\n\n\ndef f():\n    """More."""\n    import parity.c\n    return 1  # why\n'


@pytest.fixture
def root(tmp_path):
    files = {"parity/__init__.py": "", "parity/a.py": CODE, "parity/b.py": "import os\n", "parity/c.py": "x = 1\n"}
    files |= {"parity/d.py": "y = 1\n", "torch_impl/core.py": "from parity import a\n"}
    files |= {f"torch_impl/models/{name}/layers.py": f"# {name}\n" for name in ("detr", "rtdetr")}
    files["torch_impl/export/graph.py"] = "from parity import d\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_are_followed_wherever_they_stand(root):
    found = [str(path.relative_to(root)) for path in closure(root, ["torch_impl/core.py"])]
    needed = ["parity/__init__.py", "parity/a.py", "parity/b.py", "parity/c.py", "torch_impl/core.py"]
    assert found == needed


def test_a_frameworks_files_are_without_its_other_models(root):
    found = [str(path) for path in framework_files(root, "torch", "detr", ["detr", "rtdetr"])]
    assert found == ["torch_impl/core.py", "torch_impl/models/detr/layers.py"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (CODE.replace("Says.", "Tells.").replace("More.", "Less.").replace("why", "because"), True),
        (CODE.replace("\n\n\ndef", "\n\n\n\n\ndef"), True),
        (CODE.replace("return 1", "return 2"), False),
        (CODE.replace("return 1", 'return "1"'), False),
    ],
)
def test_the_digest_follows_what_is_done(root, text, same):
    before = code_digest(root, closure(root, ["parity/a.py"]))
    (root / "parity/a.py").write_text(text)
    assert (code_digest(root, closure(root, ["parity/a.py"])) == before) == same


def test_the_digest_follows_names_of_files(root):
    first = code_digest(root, [root / "parity/c.py"])
    (root / "parity/e.py").write_text("x = 1\n")
    assert code_digest(root, [root / "parity/e.py"]) != first
