"""Peak host memory of a process, seen from outside: the same meter for every framework.

A small watcher process samples the resident set of the measured process (`/proc/<pid>/statm`, every 20 ms). Allocator
statistics of a framework would not be comparable, and `getrusage` cannot be reset between stages.
"""

import os
import select
import subprocess
import sys
from pathlib import Path

METER = "resident set of the process, sampled from outside every 20 ms"
INTERVAL = 0.02


class Meter:
    """Context manager that watches this process. `peak()` gives MB since the last call (or the start)."""

    def __enter__(self) -> "Meter":
        command = [sys.executable, str(Path(__file__).resolve()), str(os.getpid())]
        self.watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def peak(self) -> float:
        """Largest resident set in MB (10^6 bytes) since the previous call; starts counting anew."""
        self.watcher.stdin.write("\n")
        self.watcher.stdin.flush()
        return round(int(self.watcher.stdout.readline()) / 1e6, 1)

    def __exit__(self, *exc) -> None:
        self.watcher.stdin.close()
        self.watcher.stdout.close()
        self.watcher.wait(timeout=10)


def watch(pid: int) -> None:
    """Sample until standard input closes; answer every line with the peak in bytes and forget it."""
    page, peak = os.sysconf("SC_PAGESIZE"), 0
    while True:
        try:
            peak = max(peak, int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
        except (OSError, IndexError):
            return
        if select.select([sys.stdin], [], [], INTERVAL)[0]:
            if not sys.stdin.readline():
                return
            print(peak, flush=True)
            peak = 0


if __name__ == "__main__":
    watch(int(sys.argv[1]))
