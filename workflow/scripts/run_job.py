"""Run one job of the workflow, and keep what it says: `run_job.py [OPTIONS] LOG PROGRAM...`

    run_job.py build.log make_dataset.py --data ... --out ...          # a script of this folder
    run_job.py --device cuda --threads 2 train.log -m torch_impl train ...    # a module of the project

PROGRAM is what follows `python` on a command line; it runs in the Python that runs this file. Every rule calls its
program through here, so the environment of a job is set up in one place:

- the project is on PYTHONPATH, whatever the working directory is;
- with `--threads N`, OMP_NUM_THREADS is N;
- GOMP_SPINCOUNT is 1000 unless the user set it or OMP_WAIT_POLICY. Threads of OpenMP otherwise spin for long at every
  barrier, and a step becomes several times slower as soon as anything else runs on the machine;
- with `--device cpu|cuda|cuda:N`, the job sees one card that no other job has, or none.

What the program says is added to the log (Snakemake removes the log before a job starts) and goes to stderr too, unless
`--quiet` is given. `2>&1 | tee LOG` is not enough, because `tee` gives the program no terminal, so progress bars would
not be drawn, and it keeps every state of a bar in the log. On a terminal the program gets a terminal of its own, and
the log keeps the last state of each line. The exit status is the program's.

Jittor compiles operators while it runs. Where this keeps a program silent for long, a line says how many there were.
Jittor has also crashed there. A program that ends in a segmentation fault or an abort within a minute after it began to
compile an operator is started again, at most twice; the log says so, and the program finds the number of restarts in
PARITY_RESTARTS. Every verb may be started again: training goes on from its checkpoint, the others begin anew. SIGKILL
is left to the scheduler: it comes from a user, or because memory ran out.

Standard library only, because this runs in every environment.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import devices

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parents[1]
SPIN = "1000"  # turns of a waiting loop before a thread of OpenMP sleeps; the default is many thousand times that
RESTARTS = 2
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)
SAID = b"Segfault, exit"  # Jittor's last words: it catches the signal and ends with status 1
SILENCE = 30  # seconds without output, after which a line says what is being done
NEAR = 60  # seconds after an operator began to be compiled
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def last_state(line: bytes) -> bytes:
    """The text that stays visible of a line that was overwritten with carriage returns."""
    parts = [part for part in ESCAPES.sub(b"", line).rstrip(b"\r\n").split(b"\r") if part.strip()]
    return (parts[-1] if parts else b"") + b"\n"


def environment(threads: int | None, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job: `given`, the project on PYTHONPATH, and how OpenMP uses its threads."""
    result = dict(given) | {"PYTHONPATH": str(ROOT)}
    if threads is not None:
        result["OMP_NUM_THREADS"] = str(threads)
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(given):
        result["GOMP_SPINCOUNT"] = SPIN
    return result


def program(words: list[str]) -> list[str]:
    """The command of a program: a module (`-m name`), or the name of a script in this folder."""
    place = [] if words[0].startswith("-") else [str(SCRIPTS / words[0])]
    return [sys.executable, *place, *(words[1:] if place else words)]


def run(log: Path, command: list[str], environment: Mapping[str, str], quiet: bool = False) -> int:
    """Run `command`, again where it crashed while it compiled; returns its exit status.

    Its output is copied to `log` and, unless `quiet`, to stderr.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "compiling"  # jittor_impl.precompiled adds a byte for every operator
        variables = dict(environment) | {"PARITY_COMPILING": str(marker)}
        for restart in range(RESTARTS + 1):
            code, crashed = _run_once(log, command, variables | {"PARITY_RESTARTS": str(restart)}, quiet, marker)
            compiling = marker.exists() and time.time() - marker.stat().st_mtime < NEAR
            if not (crashed and compiling) or restart == RESTARTS:
                return code
            line = f"crashed while operators were compiled (status {code}); starting again, {restart + 1} of {RESTARTS}"
            with open(log, "ab") as file:
                file.write(f"{line}\n".encode())
            if not quiet:
                print(line, file=sys.stderr, flush=True)
            marker.unlink()


def _run_once(
    log: Path, command: list[str], environment: Mapping[str, str], quiet: bool, marker: Path
) -> tuple[int, bool]:
    """Run `command` once; returns its exit status and whether it crashed."""
    terminal = sys.stderr.isatty() and not quiet
    read, write = pty.openpty() if terminal else os.pipe()
    if terminal:  # the bar adapts to the width of the window that is really there
        size = os.get_terminal_size(2)
        fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", size.lines, size.columns, 0, 0))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write, stderr=write, env=environment)
    os.close(write)
    # The command decides how to stop, and this process stays to read its last words. Ctrl-C reaches both by itself.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, lambda *_: None)
    pending, said, compiled = b"", False, 0
    with open(log, "ab", buffering=0) as file:
        while True:
            if not select.select([read], [], [], SILENCE)[0]:
                before, compiled = compiled, marker.stat().st_size if marker.exists() else 0
                if compiled > before and not quiet:
                    print(f"Jittor compiles operators, {compiled} so far", file=sys.stderr, flush=True)
                continue
            if not (block := _read(read)):
                break
            if not quiet:
                os.write(2, block)
            *lines, pending = (pending + block).split(b"\n")
            said = said or any(SAID in line for line in lines)
            file.write(b"".join(last_state(line) for line in lines))
        if pending.strip():
            file.write(last_state(pending))
    os.close(read)
    code = process.wait()
    return (code if code >= 0 else 128 - code), -code in CRASHES or (code == 1 and said)


def _read(descriptor: int) -> bytes:
    """Next block, empty at the end; a terminal whose other side is closed says so with an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def main() -> int:
    """Run the program of the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="cpu, cuda or cuda:N; without it the job sees what the caller sees.")
    parser.add_argument("--threads", type=int, help="Threads of OpenMP.")
    parser.add_argument("--quiet", action="store_true", help="Write into the log only.")
    parser.add_argument("log", type=Path, help="The file that keeps what the program says.")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="`-m MODULE ...`, or a script of this folder.")
    args = parser.parse_args()
    if not args.program:
        parser.error("there is no program to run")
    command, given = program(args.program), environment(args.threads, os.environ)
    if args.device is None:
        return run(args.log, command, given, args.quiet)
    with devices.taken(args.device, given) as card:
        return run(args.log, command, card, args.quiet)


if __name__ == "__main__":
    sys.exit(main())
