"""Rows of studies that never ran, for tests."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from parity.study.protocol import Protocol
from parity.study.rows import Row

PROTOCOL = Protocol.model_validate(
    {
        "looks": [6, 9, 12],
        "level": 0.02,
        "margin": 1.0,
        "margin_relative": 0.05,
        "floor": 30.0,
        "first_seed": 100,
        "pilot_seeds": [1, 2],
        "base_seed": 3,
        "draws": 2,
        "exam": {"seed": 5},
    }
)
DONE = Row(
    seed=100,
    framework="torch",
    arm="main",
    start="scratch",
    draw=0,
    last_bits="none",
    recipe="",
    status="done",
    AP=50.0,
    AP50=70.0,
    AP75=55.0,
    AR100=60.0,
    APs=20.0,
    APm=40.0,
    APl=None,
    loss=8.0,
    code="c0de",
    configuration="c0f1",
    data="da7a",
    base="",
    initial_weights="w0",
    final_weights="w1",
    versions="torch 2",
    machine="a processor, 2 cores",
    seconds=120.0,
    finished="2024-06-07T00:00:00Z",
    reason="",
)


def row(seed: int, framework: str, draw: int, ap: float, **changes) -> Row:
    """A finished run; its initial weights depend on seed and draw, as they must."""
    own = {"seed": seed, "framework": framework, "draw": draw, "AP": ap, "versions": f"{framework} 1"}
    own |= {"arm": "null" if draw else "main", "last_bits": "all" if draw else "none"}
    return replace(DONE, **own | {"initial_weights": f"w{seed}-{draw}", "code": f"code of {framework}"} | changes)


def rows(
    pairs: int,
    ap: Callable[[str, int, int], float] | None = None,
    shift: float = 0.0,
    spread: float = 0.3,
    seed: int = 0,
) -> list[Row]:
    """Rows of `pairs` seeds. `ap(framework, seed, draw)` replaces the drawn values of 50 points with `shift`."""
    rng, found = np.random.default_rng(seed), []
    for number in range(100, 100 + pairs):
        for draw in range(3):
            for framework in ("torch", "jittor"):
                value = 50 + spread * rng.standard_normal() + (shift if framework == "jittor" else 0)
                found.append(row(number, framework, draw, ap(framework, number, draw) if ap else float(value)))
    return found


def failed(entry: Row) -> Row:
    """The same run, had it failed."""
    nothing = dict.fromkeys(("AP", "AP50", "AP75", "AR100", "APs", "APm", "APl", "loss", "seconds"))
    return replace(entry, status="failed", reason="loss is nan", final_weights="", **nothing)
