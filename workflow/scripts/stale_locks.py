"""Remove the locks of a Snakemake that was killed, so that the same command simply goes on.

Snakemake marks a working directory as taken by files in `.snakemake/locks`, which stay when it is killed; it cannot
tell whether their owner is alive. Here every main process holds a lock of the kernel for as long as it lives. If nobody
holds one, those files have no owner.
"""

import fcntl
from pathlib import Path
from typing import TextIO


def drop(folder: Path) -> TextIO | None:
    """Remove stale lock files of `folder` (`.snakemake`); the returned handle must be kept while the process lives.

    Nothing is done, and None returned, where the folder cannot be written: Snakemake will say so itself.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / "alive.lock", "a")  # noqa: SIM115 (held until the process ends)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        for path in (folder / "locks").glob("*.lock"):
            path.unlink()
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle
