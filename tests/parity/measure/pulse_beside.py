"""Does the fixed computation see that a core is taken? Pulses alone, and beside processes that keep cores busy.

    .venvs/torch/bin/python tests/parity/measure/pulse_beside.py

Each row is one number of busy processes; 40 pulses on all cores. Alone, the quarter of the slowest must lie near the
median, or the computation measures something else than the machine; with a busy process on a core it must rise.
"""

import multiprocessing
import statistics
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from parity.measure.machine_speed import Pulse

PULSES = 40


def keep_busy() -> None:
    while True:
        sum(range(1000))


def pulses(busy: int, threads: int) -> list[float]:
    """Milliseconds beside `busy` processes, in rising order."""
    others = [multiprocessing.Process(target=keep_busy, daemon=True) for _ in range(busy)]
    for other in others:
        other.start()
    pulse = Pulse(threads)
    pulse.take()
    taken = sorted(1e3 * pulse.take() for _ in range(PULSES))
    for other in others:
        other.terminate()
        other.join()
    return taken


def main() -> int:
    """Returns 0 when pulses alone agree and each number of busy processes is seen."""
    threads = len(psutil.Process().cpu_affinity())
    alone, seen = 0.0, True
    for busy in range(threads + 1):
        taken = pulses(busy, threads)
        middle = statistics.median(taken)
        alone = alone or middle
        quarter = taken[PULSES * 3 // 4]
        seen &= quarter < 1.1 * middle if not busy else middle > 1.15 * alone
        print(f"beside {busy}: median {middle:.2f} ms, a quarter above {quarter:.2f}, {middle / alone:.2f} times alone")
    return int(not seen)


if __name__ == "__main__":
    sys.exit(main())
