"""Whether this machine can compile for Jittor, which compiles its core and every operator with g++.

The check is here and not in `jittor_impl`, because the workflow asks too, before it starts anything that takes long.
"""

import os
import shutil
import sysconfig
from pathlib import Path

CHOICE = "cc_path"  # the variable by which Jittor is told another compiler


def lacking() -> str | None:
    """One line that says what is missing for Jittor's compiler, None where nothing is.

    The compiler is `$cc_path` if that is set, otherwise the g++ on PATH. Jittor looks in the same places.
    """
    wanted = os.environ.get(CHOICE) or "g++"
    if shutil.which(wanted) is None:
        place = f"{CHOICE}: {wanted!r} is no program" if os.environ.get(CHOICE) else "g++ is not on PATH"
        return f"{place}; Jittor compiles its operators and needs a C++ compiler (Debian, Ubuntu: apt-get install g++)"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"{header} is missing; Jittor compiles its operators and needs Python's headers (python3-dev)"
    return None
