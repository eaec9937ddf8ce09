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
import subprocess
import sys
import tempfile
from pathlib import Path

from parity import compiler
from parity.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("PARITY_JITTOR_HOME", ROOT)).resolve()
SETTINGS = {
    "nvcc_path": "",  # no CUDA probing: without a driver the import would abort
    "use_mpi": "0",
    "use_mkl": "1",
    "cache_name": "default",  # else the git branch of the directory that holds the virtualenv
    "gdb_path": "",
    "log_silent": "1",
}
TRIED = "PARITY_JITTOR_STARTS"  # how often this process has been started anew
ONEDNN = "dnnl_lnx_2.2.0_cpu_gomp"  # the name Jittor looks for; what lies there is oneDNN 2.6 from the wheels


def link_onednn(home: Path = HOME) -> None:
    """Put the wheels' oneDNN where Jittor looks before it downloads. Raises FileNotFoundError without the wheels."""
    library, include = Path(sys.prefix) / "lib/libdnnl.so.2", Path(sys.prefix) / "include"
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


def plain_prefix(prefix: str = sys.prefix) -> Path:
    """The environment's folder; where its path has a space, a link to it in the folder for temporary files.

    Jittor quotes neither the paths that it calls nor those that it hands to the compiler.
    """
    if " " not in prefix:
        return Path(prefix)
    folder = Path(tempfile.gettempdir()) / f"parity-paths-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / hashlib.sha256(prefix.encode()).hexdigest()[:16]
    if not (link.is_symlink() and os.readlink(link) == prefix):
        temporary = link.with_name(f"{link.name}.{os.getpid()}")
        temporary.symlink_to(prefix)
        os.replace(temporary, link)
    return link


def tool_paths(prefix: str = sys.prefix) -> dict[str, str]:
    """Values of Jittor's flags that are needed where the environment's path has a space; empty where it has none.

    Jittor calls a Python script for every operator that it compiles: both are named without a space.
    """
    if " " not in prefix:
        return {}
    link = plain_prefix(prefix)
    packages = link / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    return {"python_path": str(link / "bin/python"), "jittor_path": str(packages / "jittor")}


def warm(home: Path = HOME) -> None:
    """Compile Jittor's core once, in a child process, until an import gets through to its last line."""
    stamp = home / ".cache/jittor" / f"ready-{Path(sys.prefix).name}"
    if stamp.exists():
        return
    with open(home / ".cache/jittor/warm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(3):  # "jit_utils updated, please rerun" ends an import early, with exit code 0
            if stamp.exists():
                return
            print("compiling Jittor's core, once (about 3 minutes)", file=sys.stderr, flush=True)
            flags = "".join(f"jt.flags.{name} = {path!r}; " for name, path in tool_paths().items())
            probe = f"import jittor as jt; {flags}print('alive', (jt.ones(2) + 1).sum().item())"
            run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=os.environ)
            if "alive 4" in run.stdout:
                stamp.touch()
        if not stamp.exists():
            raise RuntimeError(f"Jittor cannot be imported:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")


def onednn_version() -> str:
    """Of the library that Jittor's convolutions and products run in, as the library itself says."""

    class Version(ctypes.Structure):
        _fields_ = [(part, ctypes.c_int) for part in ("major", "minor", "patch")]

    library = ctypes.CDLL(str(HOME / ".cache/jittor/mkl" / ONEDNN / "lib/libdnnl.so.2"))
    library.dnnl_version.restype = ctypes.POINTER(Version)
    version = library.dnnl_version().contents
    return f"{version.major}.{version.minor}.{version.patch}"


def compiler_version() -> str:
    """Of the compiler that Jittor's kernels go through, e.g. "g++ 12.2.0"."""
    run = subprocess.run([jt.flags.cc_path, "-dumpfullversion"], capture_output=True, text=True)
    return f"{jt.compiler.cc_type} {run.stdout.strip()}"


def _again() -> None:
    """Start this process anew, as Jittor asks when it finds its helper library compiled for another path or compiler.

    Left alone, the process would end with exit code 0 and no work done.
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
    user_home, ended = os.environ.get("HOME"), False
    os.environ["HOME"] = str(HOME)
    os.environ.pop("JITTOR_HOME", None)
    try:
        link_onednn()
        warm()
        import jittor
    except SystemExit:  # "jit_utils updated, please rerun your command", with exit code 0
        ended = True
    finally:
        if user_home is not None:
            os.environ["HOME"] = user_home
    if ended:
        _again()
    os.environ.pop(TRIED, None)
    for flag, path in tool_paths().items():
        setattr(jittor.flags, flag, path)
    return jittor


jt = _import()
