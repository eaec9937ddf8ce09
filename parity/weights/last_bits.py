"""Initial weights with other last bits: the smallest change that a float can show, in all values or in some.

A training is chaotic: such a change grows until two runs of one framework end as far apart as two frameworks do. That
is the ruler by which a difference between frameworks is judged. Values that are exactly zero can be changed alone, or
left alone, to see whether ties in untouched weights (two paths that are equal to the bit) are what makes a run special.
"""

import zlib
from typing import Literal

import numpy as np

Kind = Literal["none", "all", "zeros", "nonzeros"]
# The last bit of a weight of usual size, 1/64 to 1/32. The float next to zero is too small to change any sum.
NEAR_ZERO = 2.0**-29


def nudge(arrays: dict[str, np.ndarray], kind: Kind, *seed: int) -> dict[str, np.ndarray]:
    """Every floating tensor with chosen values moved to the next float, up or down at random.

    `zeros` moves values that are exactly zero, to plus or minus NEAR_ZERO, `nonzeros` the others, `all` both, `none`
    nothing. A pure function of names, values, kind and seed. Integers stay as they are.
    """
    if kind == "none":
        return dict(arrays)
    return {name: _nudged(name, np.asarray(array), kind, seed) for name, array in arrays.items()}


def _nudged(name: str, array: np.ndarray, kind: Kind, seed: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*seed, zlib.crc32(name.encode())])))
    up = rng.random(array.shape) < 0.5
    ends = np.where(up, np.inf, -np.inf).astype(array.dtype)
    zero = array == 0
    moved = np.where(zero, np.where(up, NEAR_ZERO, -NEAR_ZERO).astype(array.dtype), np.nextafter(array, ends))
    chosen = {"all": np.ones_like(zero), "zeros": zero, "nonzeros": ~zero}[kind]
    return np.where(chosen, moved, array)
