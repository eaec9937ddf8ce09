"""Run a command, show what it says and keep it: `with_log.py [--device cpu|cuda|cuda:N] LOG COMMAND...`

On a terminal the command gets a terminal of its own, so that progress bars work; the log keeps the state in which a
bar left its line. Elsewhere it writes into a pipe and says plain lines. Ends with the command's exit status. Standard
library only, because it runs in every environment. With --device the command sees one card that is its own, or none.
"""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import devices

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def last_state(line: bytes) -> bytes:
    """What remains visible of a line that was overwritten with carriage returns."""
    parts = [part for part in ESCAPES.sub(b"", line).rstrip(b"\r\n").split(b"\r") if part.strip()]
    return (parts[-1] if parts else b"") + b"\n"


def run(log: Path, command: list[str], environment: Mapping[str, str]) -> int:
    """Run `command`, copying its output to stderr and to `log`; returns its exit status."""
    terminal = sys.stderr.isatty()
    read, write = pty.openpty() if terminal else os.pipe()
    if terminal:  # the bar adapts to the width of the window that is really there
        size = os.get_terminal_size(2)
        fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", size.lines, size.columns, 0, 0))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write, stderr=write, env=environment)
    os.close(write)
    # The command decides how to stop, and this process stays to read its last words. Ctrl-C reaches both by itself.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, lambda *_: None)
    pending = b""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb", buffering=0) as file:
        while block := _read(read):
            os.write(2, block)
            *lines, pending = (pending + block).split(b"\n")
            file.write(b"".join(last_state(line) for line in lines))
        if pending.strip():
            file.write(last_state(pending))
    code = process.wait()
    return code if code >= 0 else 128 - code


def _read(descriptor: int) -> bytes:
    """Next block, empty at the end; a terminal whose other side is closed says so with an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--device", device, log_file, *words] if words:
            with devices.taken(device, os.environ) as card:
                sys.exit(run(Path(log_file), words, card))
        case [log_file, *words] if words and not log_file.startswith("-"):
            sys.exit(run(Path(log_file), words, os.environ))
        case _:
            sys.exit(__doc__)
