"""Short fixed projections of large tensors: what the anchors record of every gradient and update.

Every element is added, with a random sign, to one of 64 sums (a "count sketch"). The sums are linear in the tensor, so
the sketch of a difference is the difference of the sketches, and its norm is on average that of the tensor. Unlike a
norm it sees a wrong sign, an exchanged axis, an element in another place.
"""

import zlib

import numpy as np

WIDTH = 64  # sums per tensor; a tensor of at most as many elements is kept as it is


def sketch(name: str, array: np.ndarray) -> np.ndarray:
    """float64 [64], or [n] for a tensor of n <= 64 elements. The projection depends on the name and the size only."""
    values = np.asarray(array, np.float64).ravel()
    if values.size <= WIDTH:
        return values.copy()
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([zlib.crc32(name.encode()), values.size])))
    draws = rng.integers(0, 2 * WIDTH, values.size, dtype=np.uint8)
    signs = np.where(draws & 1, 1.0, -1.0)
    return np.bincount(draws >> 1, weights=values * signs, minlength=WIDTH)
