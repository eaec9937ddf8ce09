"""Import Jittor with the settings it needs, and with one compile cache for the whole project.

Everything else in this package says `from jittor_impl.runtime import jt`, so that no module can import Jittor bare:
a bare import downloads oneDNN, looks for CUDA, and keeps a cache per git branch.

The cache is `<project>/.cache/jittor` (or `$PARITY_JITTOR_HOME/.cache/jittor`, e.g. local scratch on a cluster). Its
first use compiles Jittor's core, which takes minutes and ends the importing process with exit code 0; `warm()`
therefore imports once in a child process first.
"""

import ctypes
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from jittor_impl import precompiled
from parity import compiler
from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("PARITY_JITTOR_HOME", ROOT)).resolve()
SETTINGS = {
    "nvcc_path": "",  # no CUDA probing: without a driver the import would abort
    "use_mpi": "0",
    "use_mkl": "1",
    "cache_name": "parity",  # otherwise it is the git branch of the directory that holds the virtualenv
    # Its threads that compile operators change lists of the graph without a lock: two that multiply the same array
    # (the gradients of one linear layer do) each enter themselves among its readers, and now and then the heap breaks.
    "use_parallel_op_compiler": "0",
    "gdb_path": "",
    "log_silent": "1",
}
CHOICE = "cc_flags"  # the variable by which Jittor is given more flags for its compiler
WARMING = "PARITY_JITTOR_WARMING"  # set in the child process that compiles the core
TRIED = "PARITY_JITTOR_STARTS"  # how often this process has been started anew
ONEDNN = "dnnl_lnx_2.2.0_cpu_gomp"  # the name that Jittor looks for; the file is oneDNN 2.6 from the wheels


def link_onednn(home: Path = HOME) -> None:
    """Put the wheels' oneDNN where Jittor looks before it downloads. Raises FileNotFoundError without the wheels."""
    prefix = Path(sys.prefix).resolve()
    library, include = prefix / "lib/libdnnl.so.2", prefix / "include"
    if not library.exists():
        raise FileNotFoundError(f"{library}: oneDNN is missing, install onednn-cpu-gomp and onednn-devel-cpu-gomp")
    target = home / ".cache/jittor/mkl" / ONEDNN
    (target / "lib").mkdir(parents=True, exist_ok=True)
    links = {target / "include": include, target / "lib/libmkldnn.so": library, target / "lib/libdnnl.so.2": library}
    for link, points_to in links.items():
        if not (link.is_symlink() and os.readlink(link) == str(points_to)):
            temporary = link.with_name(f"{link.name}.{os.getpid()}")
            temporary.symlink_to(points_to)
            os.replace(temporary, link)


def plain(path: Path) -> Path:
    """The same file or folder; where its path has a space, a link to it in the folder for temporary files.

    Jittor quotes neither the paths that it calls nor those that it hands to the compiler.
    """
    if " " not in str(path):
        return path
    folder = Path(tempfile.gettempdir()) / f"parity-paths-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / hashlib.sha256(str(path).encode()).hexdigest()[:16]
    if not (link.is_symlink() and os.readlink(link) == str(path)):
        temporary = link.with_name(f"{link.name}.{os.getpid()}")
        temporary.symlink_to(path)
        os.replace(temporary, link)
    return link


def core_flags(utils: ModuleType) -> str:
    """Flags with which Jittor compiles its core, as far as a precompiled header has to agree with them."""
    native = "-march=native " if platform.machine() in ("x86_64", "AMD64") else ""
    return f"-std=c++14 -fPIC {native}-O2 -I'{utils.__path__[0]}/../jittor/src' {utils.get_py3_include_path()}"


def stamp(home: Path, flags: str) -> Path:
    """The file that says: the core was compiled for this environment, with these flags."""
    environment, sum_of_flags = Path(sys.prefix).resolve().name, hashlib.sha256(flags.encode()).hexdigest()
    return home / ".cache/jittor" / f"ready-{environment}-{sum_of_flags[:8]}"


def warm(home: Path = HOME, flags: str = "") -> None:
    """Compile Jittor's core once, in a child process, until an import gets through to its last line.

    flags   with which the core is compiled; others compile it again
    """
    ready = stamp(home, flags)
    if ready.exists():
        return
    with open(home / ".cache/jittor/warm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(3):  # a compiler may be killed; "jit_utils updated, please rerun" ends an import with status 0
            if ready.exists():
                return
            print("compiling Jittor's core, once (about 2 minutes)", file=sys.stderr, flush=True)
            probe = "from jittor_impl.runtime import jt; print('alive', (jt.ones(2) + 1).sum().item())"
            path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            environment = os.environ | {WARMING: "1", "PYTHONPATH": path, "PARITY_JITTOR_HOME": str(home)}
            run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment)
            if "alive 4" in run.stdout:
                ready.touch()
        if not ready.exists():
            raise RuntimeError(f"Jittor cannot be imported:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")


def onednn_version() -> str:
    """The version of oneDNN, which computes Jittor's convolutions and products, as the library itself says."""

    class Version(ctypes.Structure):
        _fields_ = [(part, ctypes.c_int) for part in ("major", "minor", "patch")]

    library = ctypes.CDLL(str(HOME / ".cache/jittor/mkl" / ONEDNN / "lib/libdnnl.so.2"))
    library.dnnl_version.restype = ctypes.POINTER(Version)
    version = library.dnnl_version().contents
    return f"{version.major}.{version.minor}.{version.patch}"


def compiler_version() -> str:
    """The version of the compiler that Jittor uses, e.g. "g++ 12.2.0"."""
    run = subprocess.run([jt.flags.cc_path, "-dumpfullversion"], capture_output=True, text=True)
    return f"{jt.compiler.cc_type} {run.stdout.strip()}"


def _again() -> None:
    """Start this process anew, as Jittor asks when it finds its helper library compiled for another path or compiler.

    Otherwise the process would end with exit code 0 and no work done.
    """
    tried = int(os.environ.get(TRIED, "0"))
    if tried >= 3:
        raise RuntimeError("Jittor asks to be started again after each of three starts; delete its folder in .cache")
    os.environ[TRIED] = str(tried + 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _import():
    if lack := compiler.lacking():
        raise UserError(lack)
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    before = {key: os.environ.get(key) for key in ("HOME", CHOICE)}
    os.environ["HOME"] = str(HOME)
    os.environ.pop("JITTOR_HOME", None)
    ended = False
    # .venvs/jittor is a link. By another path Jittor would find its headers elsewhere and compile its core again.
    sys.path[:] = [os.path.realpath(path) if path.startswith(sys.prefix) else path for path in sys.path]
    try:
        link_onednn()
        import jittor_utils

        # It starts one compiler for 3 GiB of memory, whatever the number of cores.
        jittor_utils.get_total_mem = lambda: precompiled.compilers() * 3 * 2**30
        folder, compile_with = Path(jittor_utils.cache_path) / "precompiled", jittor_utils.cc_path
        core = precompiled.header(folder, "core", precompiled.CORE, [], compile_with, core_flags(jittor_utils))
        core_include = f' -include "{core}" '
        more_flags = (before[CHOICE] or "") + core_include
        if WARMING not in os.environ:
            warm(flags=more_flags)
        os.environ[CHOICE] = more_flags
        import jittor
    except SystemExit:  # "jit_utils updated, please rerun your command", with exit code 0
        ended = True
    finally:
        for key, value in before.items():
            if value is not None:
                os.environ[key] = value
            else:
                os.environ.pop(key, None)
    if ended:
        _again()
    os.environ.pop(TRIED, None)
    flags = jittor.flags.cc_flags.replace(core_include, " ")
    operators = precompiled.header(folder, "operators", precompiled.OPERATORS, precompiled.MACROS, compile_with, flags)
    jittor.flags.cc_flags = f'{flags} -include "{operators}" '
    jittor.flags.python_path = str(plain(precompiled.command(folder)))
    if " " in sys.prefix:
        jittor.flags.jittor_path = str(plain(Path(jittor.__path__[0])))
    return jittor


jt = _import()
