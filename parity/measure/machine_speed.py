"""The state of the machine during a measurement: how fast it was, and how busy with something else.

Processors change their clock, and virtual machines share their cores; the load average shows neither. So a fixed
computation that belongs to no framework is timed among the samples of every profile. It tells a slower framework from a
slower minute. A load average also covers the minutes before, so that a compiler
that ran then would make the machine look busy. The processor time that others used during the measurement does not have
this fault.
"""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

ROUNDS = 60_000  # of hashing, some 15 ms: longer than a turn that a core gives to one process
REST = 0.01  # seconds, after which threads of a framework that wait for work in a loop have gone to sleep
SETTLE = 0.02  # seconds of hashing before that, after which the system has given each thread a core of its own


class Pulse:
    """A fixed computation, timed again and again among the samples of a measurement.

    It runs on as many threads as the framework: on one it would not notice that something else uses the other cores. It
    hashes, which needs neither memory nor the interpreter lock.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="pulse")

    def take(self) -> float:
        """Seconds that the computation takes now, on the slowest thread; nothing of a framework may be running.

        Threads that wake together often begin on one core and are moved apart some milliseconds later. Timed at once,
        they take twice as long or not, whatever the machine's speed.
        """
        time.sleep(REST)
        return round(max(self.pool.map(lambda _: _compute(), range(self.threads))), 7)


def _compute() -> float:
    """Seconds of one thread."""
    settled = time.perf_counter() + SETTLE
    while time.perf_counter() < settled:
        _hash(ROUNDS // 50)
    begun = time.perf_counter()
    _hash(ROUNDS)
    return time.perf_counter() - begun


def _hash(rounds: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"pulse", b"", rounds)


class Others:
    """Average number of cores that other processes kept busy since this was made; own children are not others."""

    def __init__(self) -> None:
        self.begun, self.everything, self.own = time.perf_counter(), _everything(), _own()

    def cores(self) -> float:
        """Average number of cores, 0 or more."""
        elapsed = time.perf_counter() - self.begun
        return max(0.0, (_everything() - self.everything - (_own() - self.own)) / elapsed) if elapsed > 0 else 0.0


def _everything() -> float:
    """Seconds of processor time that all processes of the machine have used."""
    times = psutil.cpu_times()._asdict()
    counted = {"guest", "guest_nice"}  # already counted in user and nice
    return sum(value for name, value in times.items() if name not in {"idle", "iowait"} | counted)


def _own() -> float:
    """Seconds of processor time that this process and its children, ended or not, have used."""
    mine, total = os.times(), 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return mine.user + mine.system + mine.children_user + mine.children_system + total
