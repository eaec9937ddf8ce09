"""Compile Jittor's core and operators faster: headers are read once, and no unused file is written.

Compiling one of Jittor's operators is mostly reading headers. `header` has g++ read them once and keep the result, a
precompiled header. g++ uses it only where flags, macros and compiler agree, else it reads the header itself: it can
make a compilation slow, never wrong.

Jittor compiles an operator in two steps, with a Python script between them that changes the assembler text. The
script has something to do only where the source asks for it with `@begin`. `command` leaves it out elsewhere. This
also leaves out the debug information and both assembler files, which are ten times as large as the library itself.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

from parity.files import atomic

# Only what most of the core includes: some of its files define names that are declared in headers which they do not
# include.
CORE = ["pyjt/py_converter.h", "utils/seh.h", "op.h", "var.h", "ops/op_register.h", "mem/allocator.h"]
OPERATORS = ["cmath", "algorithm", "limits", "vector", "cstring", "cstdint", "assert.h", "omp.h", "var.h"]
OPERATORS += [f"ops/{name}_op.h" for name in ("broadcast_to", "binary", "array", "unary", "ternary", "reduce", "code")]
OPERATORS += ["ops/op_register.h", "misc/cpu_math.h", "fused_op.h", "executor.h"]
MACROS = ["JIT", "JIT_cpu"]  # every operator's source defines them before it includes anything

COMPILING = "PARITY_COMPILING"  # names a file that grows by a byte when an operator begins to be compiled
SCRIPT = """#!/bin/sh
# Jittor calls: THIS asm_tuner.py --cc_path=COMPILER SOURCE FLAGS...
[ -z "${compiling}" ] || printf . >> "${compiling}"
if grep -q @begin "$3"; then exec {python} "$@"; fi
compiler=${{2#--cc_path=}}
shift 2
"$compiler" "$@" || exec "$compiler" "$@" # once more: the compiler may have been killed
"""


def text(includes: list[str], macros: list[str]) -> str:
    """The header's text. It uses <>, because Jittor hashes files in "" again for every operator that it loads."""
    return "".join(f"#define {name} 1\n" for name in macros) + "".join(f"#include <{name}>\n" for name in includes)


def header(folder: Path, name: str, includes: list[str], macros: list[str], compiler: str, flags: str) -> Path:
    """Precompile a header into `folder` unless it is there; returns the path to hand to `-include`.

    flags   the compiler's, as text; those for the linker are left out
    """
    words = [word for word in shlex.split(flags) if not word.startswith(("-l", "-L", "-Wl,", "-shared"))]
    wanted = text(includes, macros)
    digest = hashlib.sha256("\n".join([compiler, *words, wanted]).encode()).hexdigest()[:12]
    path = folder / f"{name}-{digest}.h"
    done = path.with_name(f"{path.name}.gch")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_text(wanted)
    if not done.exists():
        try:
            with atomic(done) as temporary:
                build = [compiler, "-x", "c++-header", str(path), *words, "-o", str(temporary)]
                subprocess.run(build, capture_output=True, text=True, check=True)
        except subprocess.CalledProcessError as error:  # the header serves as it is, only more slowly
            print(f"{path}: not precompiled, so that compiling takes longer: {error.stderr[-300:]}", file=sys.stderr)
    return path


def command(folder: Path) -> Path:
    """Write the script that Jittor shall call in Python's place to compile an operator; returns its path."""
    wanted = SCRIPT.format(python=shlex.quote(sys.executable), compiling=COMPILING)
    path = folder / "compile.sh"
    if not path.exists() or path.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_text(wanted)
            os.chmod(temporary, 0o755)
    return path


def compilers() -> int:
    """How many compilers may run at once: one a core, and 1.5 GiB of memory for each."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), int(memory / (1.5 * 2**30))))
