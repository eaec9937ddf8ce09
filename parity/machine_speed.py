"""How fast the machine itself is at the moment: a fixed computation that belongs to no framework.

Processors change their clock and virtual machines share their cores, without any trace in the load average. Measured
beside every profile, this tells a slower framework from a slower minute. Both environments pin the same NumPy.
"""

import time

import numpy as np

ROUNDS = 20
ARITHMETIC = 400_000  # numbers whose exponentials are taken: a few milliseconds, inside the caches
MEMORY = 4_000_000  # numbers that are copied: 32 MB, beyond the caches


def reference_times(rounds: int = ROUNDS) -> list[float]:
    """Seconds of each of `rounds` repetitions of the same arithmetic and the same copy, on one thread."""
    numbers = np.linspace(0.0, 1.0, ARITHMETIC)
    here, there = np.ones(MEMORY), np.empty(MEMORY)
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        np.exp(numbers)
        np.copyto(there, here)
        times.append(round(time.perf_counter() - begun, 7))
    return times[1:]  # the first repetition finds cold caches
