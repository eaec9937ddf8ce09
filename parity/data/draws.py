"""The random draws of a model, made by NumPy so that two frameworks see the same ones.

A model asks for its randomness (denoising noise, dropout masks) in a fixed order. In training the answers come from a
generator seeded with (seed, epoch, step); in `trace` they may come from arrays that were stored before.
"""

import numpy as np

from parity.errors import UserError


class Draws:
    """Draws from a generator that depends on nothing but its key, e.g. (seed, epoch, step)."""

    def __init__(self, *key: int):
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(k) for k in key])))

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 in [0, 1)."""
        return self.rng.random(shape, dtype=np.float32)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 in [low, high)."""
        return self.rng.integers(low, high, shape, dtype=np.int64)


class StoredDraws:
    """Draws read from arrays in call order; used by `trace` when IN.npz holds `draws/0`, `draws/1`, ..."""

    def __init__(self, arrays: list[np.ndarray]):
        self.arrays, self.used = arrays, 0

    def _next(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        if self.used >= len(self.arrays):
            raise UserError(f"draws/{self.used}: missing, the model needs one more draw, of shape {tuple(shape)}")
        array = self.arrays[self.used]
        if tuple(array.shape) != tuple(shape):
            raise UserError(f"draws/{self.used}: has shape {tuple(array.shape)}, the model needs {tuple(shape)}")
        self.used += 1
        return array.astype(dtype)

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._next(shape, np.float32)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        return self._next(shape, np.int64)
