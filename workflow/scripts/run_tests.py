"""Run every test suite in the environment it belongs to, and the linters; print one table; fail if anything failed.

    python workflow/scripts/run_tests.py            # everything
    python workflow/scripts/run_tests.py lint       # one of: slurm workflow jittor torch export project parity lint

A suite that fails does not keep the others from running. Two suites run side by side, with one thread each: most of
what they do keeps one core busy. Jittor compiles for one process at a time, so the order keeps suites apart that
compile much. What a suite printed is shown when it is done; one that is asked for alone is shown as it runs.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from make_venv import ROOT, venv_path

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
PROJECT = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/test_*.py"))  # a list would forget one
SUITES = {  # name: [(environment, arguments of its python)]; all of them are run, the longest first
    "slurm": [("workflow", [*PYTEST, "-rs", "tests/slurm"])],
    "workflow": [("workflow", [*PYTEST, "tests/workflow"])],
    "jittor": [("jittor", [*PYTEST, "tests/jittor_impl", "tests/contract"])],
    "torch": [("torch", [*PYTEST, "--ignore=tests/torch_impl/export", "tests/torch_impl", "tests/contract"])],
    "export": [("export", [*PYTEST, "tests/torch_impl/export", "tests/examples"])],
    "project": [("workflow", [*PYTEST, *PROJECT])],
    "parity": [("workflow", [*PYTEST, "tests/parity", "tests/contract", "tests/faults"])],
    "lint": [
        ("workflow", ["-m", "ruff", "check", "."]),
        ("workflow", ["-m", "ruff", "format", "--check", "."]),
        ("workflow", ["-m", "snakefmt", "--check", "Snakefile", "workflow/rules"]),
        ("workflow", ["-m", "snakemake", "--lint"]),
    ],
}
LANES = 2  # suites at once
# One thread for each suite; a thread that waits sleeps soon, because the other suite needs the core.
THREADS = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}

Result = tuple[bool, str, float]  # passed, last words, seconds


def show(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def run(name: str, show: Callable[[bytes], None] = show) -> Result:
    """Run a suite; `show` is given its output as it comes."""
    start, words, failed = time.monotonic(), "", []
    for environment, arguments in SUITES[name]:
        show(f"\n== {name}: {' '.join(arguments)}\n".encode())
        command = [str(venv_path(ROOT / f"envs/{environment}.yaml") / "bin/python"), *arguments]
        variables = THREADS | os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for raw in process.stdout:
            show(raw)
            line = raw.decode(errors="replace").strip()
            if arguments[1] == "pytest" and re.search(r"\d+ (passed|failed|error|skipped)", line):
                words = line.strip("= ")
        if process.wait() != 0:
            failed.append(" ".join(arguments[1:3]))
    words = words or (f"complains: {', '.join(failed)}" if failed else "clean")
    return not failed, words, time.monotonic() - start


def run_beside(name: str) -> Result:
    """Run a suite beside others; its output is shown when it is done."""
    said: list[bytes] = []
    print(f"{name} begins", flush=True)
    result = run(name, said.append)
    show(b"".join(said))
    return result


def run_all(names: list[str]) -> dict[str, Result]:
    """Run the named suites, `LANES` at a time, in the order in which they are named."""
    if len(names) == 1:
        return {name: run(name) for name in names}
    with ThreadPoolExecutor(LANES) as pool:
        return dict(zip(names, pool.map(run_beside, names), strict=True))


def main(names: list[str]) -> int:
    """Run the named suites; returns the exit status."""
    unknown = set(names) - set(SUITES)
    if unknown:
        print(f"error: {', '.join(sorted(unknown))}: unknown suite, expected {', '.join(SUITES)}", file=sys.stderr)
        return 2
    results = run_all(names)
    passed = sum(int(n) for _, words, _ in results.values() for n in re.findall(r"(\d+) passed", words))
    failed = sum(int(n) for _, words, _ in results.values() for n in re.findall(r"(\d+) (?:failed|error)", words))
    print()
    for name, (good, words, seconds) in results.items():
        print(f"{'ok    ' if good else 'FAILED'}  {name:<10} {words}  [{seconds:.0f} s]")
    print(f"\n{passed} passed, {failed} failed")
    return 0 if all(good for good, _, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SUITES)))
