"""Which device a job gets: what `device: auto` means on this machine, and one card for each job that runs on a GPU.

No framework is imported for it: the cards that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows decide. Standard
library only, because it runs in every framework's environment.
"""

import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WAIT = 1.0  # seconds between two looks at cards that are all taken


def listed() -> list[str]:
    """Indices of the cards that nvidia-smi lists; empty without a card or a driver."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index, _ in enumerate(re.findall(r"^GPU \d+:", found, re.M))]


def visible(environment: Mapping[str, str]) -> list[str]:
    """Cards that may be used, as CUDA_VISIBLE_DEVICES names them; like CUDA it stops at the first wrong name."""
    if "CUDA_VISIBLE_DEVICES" not in environment:
        return listed()
    cards = []
    for name in environment["CUDA_VISIBLE_DEVICES"].split(","):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w./-]+", name.strip()):
            break
        cards.append(name.strip())
    return cards


def resolve(device: str, environment: Mapping[str, str]) -> str:
    """`auto` becomes "cuda" where there is a card and it may be used, "cpu" elsewhere; anything else stays."""
    if device != "auto":
        return device
    return "cuda" if listed() and visible(environment) else "cpu"


@contextmanager
def taken(device: str, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment of a job: no card on a CPU, otherwise one card that no other job of this machine uses meanwhile.

    `cuda:1` is the second visible card. Waits while every card is taken. Ends the program with one line when there is
    no such card.
    """
    result = dict(environment)
    if device == "cpu":
        yield result | {"CUDA_VISIBLE_DEVICES": ""}
        return
    cards = visible(environment)
    index = device.partition(":")[2]
    if not cards or (index and int(index) >= len(cards)):
        where = environment.get("CUDA_VISIBLE_DEVICES")
        limit = "" if where is None else f", CUDA_VISIBLE_DEVICES={where}"
        sys.exit(f"error: device: {device}: {len(cards)} GPU(s) can be used here (nvidia-smi{limit})")
    with _locked([cards[int(index)]] if index else cards) as card:
        yield {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | result | {"CUDA_VISIBLE_DEVICES": card}


@contextmanager
def _locked(cards: list[str]) -> Iterator[str]:
    """The first card whose lock is free; the lock ends with this process, whatever becomes of it."""
    folder = Path(tempfile.gettempdir()) / f"parity-cards-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    said = False
    while True:
        for card in cards:
            with open(folder / re.sub(r"\W", "_", card), "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield card
                return
        if not said:
            print(f"waiting for a GPU: {', '.join(cards)} taken by other jobs", file=sys.stderr, flush=True)
            said = True
        time.sleep(WAIT)
