"""Two ways to do the same work, timed in turns in one process.

Processes differ by several percent on a machine that others use, and its speed changes within minutes. Two ways that
take turns meet the same machine, so that their ratio needs no idle one. Seconds are those of the processor.
"""

import math
import statistics
import time
from collections.abc import Callable

from scipy import stats


def processor_seconds(work: Callable[[], None]) -> float:
    """What `work` costs, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turns(first: Callable[[], float], second: Callable[[], float], rounds: int) -> str:
    """The ratio first / second over `rounds` rounds (first second, second first, ...), in words.

    Both return the seconds of one round; a round before the first one is not counted. The interval is Student's, 90 %,
    on the logarithm of each round's ratio.
    """
    if rounds < 3:
        raise ValueError(f"{rounds} rounds say nothing of a ratio, expected 3 or more")
    first(), second()
    taken = []
    for number in range(rounds):
        if number % 2 == 0:
            taken.append((first(), second()))
        else:
            late = second()
            taken.append((first(), late))
    logs = [math.log(a / b) for a, b in taken]
    middle, half = statistics.mean(logs), stats.t.ppf(0.95, rounds - 1) * statistics.stdev(logs) / math.sqrt(rounds)
    low, high = math.exp(middle - half), math.exp(middle + half)
    milliseconds = [1e3 * statistics.median(side) for side in zip(*taken, strict=True)]
    return (
        f"{math.exp(middle):.3f} (90 % {low:.3f} to {high:.3f}) over {rounds} rounds,"
        f" medians {milliseconds[0]:.0f} and {milliseconds[1]:.0f} ms"
    )
