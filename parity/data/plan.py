"""Which images form which step: a pure function of (seed, epoch), whatever framework asks.

Epochs count from 1, steps from 0 within their epoch.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from parity.errors import UserError

# The purpose of a generator is part of its key, so that the draws for one purpose never repeat those for another.
ORDER, SIZE, AUGMENT = 1, 2, 3


def generator(*key: int) -> np.random.Generator:
    """A generator that depends on nothing but its key of non-negative integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(k) for k in key])))


class BatchPlan:
    """Image ids (and the multi-scale size) of every step of a run.

    `sizes` is the list that one side length per step is drawn from (repeats raise its chance); empty means
    one fixed size. `drop_last` leaves out the incomplete batch at the end of each epoch.
    """

    def __init__(
        self,
        ids: Iterable[int],
        batch_size: int,
        epochs: int,
        seed: int,
        drop_last: bool = True,
        sizes: Sequence[int] = (),
    ):
        self.ids = sorted(int(i) for i in ids)
        if len(set(self.ids)) != len(self.ids):
            raise UserError("batch plan: an image id occurs twice in the training split")
        if batch_size < 1 or epochs < 0:
            raise UserError(f"train: batch_size {batch_size} and epochs {epochs}, expected at least 1 and 0")
        self.batch_size, self.epochs, self.seed, self.drop_last = int(batch_size), int(epochs), int(seed), drop_last
        self.sizes = [int(s) for s in sizes]
        self.steps_per_epoch = len(self.ids) // batch_size if drop_last else -(-len(self.ids) // batch_size)
        if self.steps_per_epoch == 0:
            raise UserError(f"train.batch_size: {batch_size} is more than the {len(self.ids)} training images")

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def epoch_ids(self, epoch: int) -> list[list[int]]:
        """The image ids of every step of one epoch."""
        order = generator(self.seed, epoch, ORDER).permutation(len(self.ids))
        ids = [self.ids[i] for i in order]
        return [ids[s * self.batch_size : (s + 1) * self.batch_size] for s in range(self.steps_per_epoch)]

    def size(self, epoch: int, step: int) -> int | None:
        """Side length of one step under multi-scale training, None without it."""
        if not self.sizes:
            return None
        return self.sizes[int(generator(self.seed, epoch, step, SIZE).integers(len(self.sizes)))]

    def __iter__(self) -> Iterator[tuple[int, int, list[int], int | None]]:
        """(epoch, step, ids, size) of every step of the run."""
        for epoch in range(1, self.epochs + 1):
            for step, ids in enumerate(self.epoch_ids(epoch)):
                yield epoch, step, ids, self.size(epoch, step)

    def digest(self) -> str:
        """SHA-256 (hex) over the ids and the size of every step of the run."""
        sha = hashlib.sha256()
        for epoch, step, ids, size in self:
            sha.update(f"{epoch} {step} {size} {' '.join(map(str, ids))}\n".encode())
        return sha.hexdigest()
