"""Run every test suite in the environment it belongs to, and the linters; print one table; fail if anything failed.

    python workflow/scripts/run_tests.py            # everything
    python workflow/scripts/run_tests.py lint       # one of: slurm parity workflow project torch jittor lint

A suite that fails does not keep the others from running. Slurm's spends most of its time waiting for Slurm, so it runs
beside the two that keep one core busy; the suites that train have the machine to themselves.
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
SUITES = {  # name: [(environment, arguments of its python)]; all of them are run
    "slurm": [("workflow", [*PYTEST, "-rs", "tests/slurm"])],
    "parity": [("workflow", [*PYTEST, "tests/parity", "tests/contract", "tests/faults"])],
    "workflow": [("workflow", [*PYTEST, "tests/workflow"])],
    "project": [
        ("workflow", [*PYTEST, *(f"tests/test_{name}.py" for name in ("imports", "twins", "continued", "overfit"))])
    ],
    "torch": [("torch", [*PYTEST, "tests/torch_impl", "tests/contract"])],
    "jittor": [("jittor", [*PYTEST, "tests/jittor_impl", "tests/contract"])],
    "lint": [
        ("workflow", ["-m", "ruff", "check", "."]),
        ("workflow", ["-m", "ruff", "format", "--check", "."]),
        ("workflow", ["-m", "snakefmt", "--check", "Snakefile", "workflow/rules"]),
        ("workflow", ["-m", "snakemake", "--lint"]),
    ],
}
BESIDE = {"slurm": ("parity", "workflow")}  # runs while these do

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
        variables = os.environ | {"PYTHONPATH": str(ROOT)}
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
    result = run(name, said.append)
    show(b"".join(said))
    return result


def run_all(names: list[str]) -> dict[str, Result]:
    """Run the named suites, those of BESIDE while their neighbours run."""
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(1) as pool:
        started = {name: pool.submit(run_beside, name) for name in BESIDE if name in names}
        neighbours = [name for name in names if any(name in BESIDE[other] for other in started)]
        results |= {name: run(name) for name in neighbours}
        results |= {name: running.result() for name, running in started.items()}
    return results | {name: run(name) for name in names if name not in results}


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
