"""Headers that are read once: g++ uses them, ignores them where flags differ, and Jittor is told to use them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jittor_impl import precompiled
from jittor_impl.runtime import jt

FLAGS = "-O2 -fPIC -shared -L/nowhere -lstdc++"


@pytest.fixture
def header(tmp_path):
    def make(compiler: str = "g++", flags: str = FLAGS) -> Path:
        return precompiled.header(tmp_path, "small", ["cstdint"], ["JIT"], compiler, flags)

    return make


@pytest.mark.parametrize(("level", "used"), [("-O2", True), ("-O0", False)])
def test_the_compiler_reads_the_precompiled_header_where_flags_agree_and_else_the_plain_one(
    header, tmp_path, level, used
):
    path, source = header(), tmp_path / "a.cc"
    source.write_text("#define JIT 1\n#include <cstdint>\nint64_t f() { return JIT; }\n")
    command = ["g++", level, "-fPIC", "-H", "-include", str(path), str(source), "-c", "-o", str(tmp_path / "a.o")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0 and (tmp_path / "a.o").exists()
    assert (f"! {path}.gch" in run.stderr) == used


def test_a_header_is_made_once_for_each_set_of_flags(header, monkeypatch):
    first, other = header(), header(flags="-O3")
    assert first != other and all(path.with_name(f"{path.name}.gch").exists() for path in (first, other))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
    assert header() == first


def test_a_header_that_cannot_be_precompiled_serves_as_it_is(header, capsys):
    path = header(compiler="false")
    assert path.read_text() == "#define JIT 1\n#include <cstdint>\n"
    assert not path.with_name(f"{path.name}.gch").exists()
    assert "compiling takes longer" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "words"), [("a = b", ["SOURCE", "-O2", "-o", "x.so"]), ("// @begin replace", None)])
def test_the_tuner_is_called_only_where_a_source_asks_for_it(tmp_path, source, words):
    """Both programs that the script may call are stand-ins that print their arguments."""
    folder = tmp_path / "a folder"
    script = precompiled.command(folder)
    assert precompiled.command(folder) == script
    tuner, compiler, code = (folder / name for name in ("asm_tuner.py", "g++", "a.cc"))
    tuner.write_text("import sys; print('tuner', *sys.argv[1:], sep='\\n')")
    compiler.write_text('#!/bin/sh\nprintf "%s\\n" compiler "$@"\n')
    compiler.chmod(0o755)
    code.write_text(source)
    given = [str(script), str(tuner), f"--cc_path={compiler}", str(code), "-O2", "-o", "x.so"]
    said = subprocess.run(given, capture_output=True, text=True, check=True).stdout.splitlines()
    expected = ["compiler", *words] if words else ["tuner", *given[2:]]
    assert said == [str(code) if word == "SOURCE" else word for word in expected]


def test_the_script_says_that_an_operator_is_compiled_and_tries_twice(tmp_path):
    script, marker = precompiled.command(tmp_path), tmp_path / "compiling"
    compiler, tried = tmp_path / "g++", tmp_path / "tried"
    compiler.write_text(f'#!/bin/sh\n[ -e "{tried}" ] && exit 0\ntouch "{tried}"\nkill -9 $$\n')
    compiler.chmod(0o755)
    (tmp_path / "a.cc").touch()
    given = [str(script), "asm_tuner.py", f"--cc_path={compiler}", str(tmp_path / "a.cc")]
    subprocess.run(given, check=True, env=os.environ | {precompiled.COMPILING: str(marker)})
    assert marker.read_text() == "." and tried.exists()


@pytest.mark.parametrize(("cores", "gib", "expected"), [(2, 24, 2), (64, 24, 16), (8, 1, 1)])
def test_compilers_are_bounded_by_cores_and_memory(monkeypatch, cores, gib, expected):
    monkeypatch.setattr(precompiled.os, "sched_getaffinity", lambda pid: set(range(cores)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gib * 2**30 // 4096}
    monkeypatch.setattr(precompiled.os, "sysconf", sizes.get)
    assert precompiled.compilers() == expected


def test_jittor_compiles_operators_one_by_one_with_the_header_and_without_the_tuner():
    (include,) = [word for word in jt.flags.cc_flags.split() if "precompiled" in word]
    header = Path(include.strip('"'))
    assert header.name.startswith("operators-") and header.with_name(f"{header.name}.gch").exists()
    assert jt.flags.use_parallel_op_compiler == 0
    script = Path(jt.flags.python_path)
    assert script.resolve().parent == header.parent and sys.executable in script.read_text()
    assert (jt.array([1.0, 2.0]) * 3).numpy().tolist() == [3, 6]
    leftover = [path for path in header.parents[1].glob("jit/*.s") if "post" not in path.name]
    assert all("@begin" in path.with_suffix(".cc").read_text() for path in leftover)
    assert list(header.parents[1].glob("jit/*.so"))
