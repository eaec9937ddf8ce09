"""How fast the loader makes training batches: with its worker threads, and in one thread, side by side.

Both kinds take turns, so that other work on the machine slows both alike. Every round is a fresh loader over the same
steps, with nothing cached: decoding, augmenting and preprocessing are part of it, reading from a cold disk is not,
because a first round that is not counted has read the files.
"""

import statistics
import time
from typing import Any

from parity.config.run import RunConfig
from parity.data.chains import make_augment
from parity.data.coco import open_split
from parity.data.loader import Loader
from parity.data.plan import BatchPlan
from parity.data.transforms import make_preprocess
from parity.errors import UserError


def compare(run: RunConfig, workers: int, images: int = 64, rounds: int = 5) -> dict[str, Any]:
    """Images per second of every round: `single` in the calling thread, `threads` with `workers` of them.

    A round makes the batches of about `images` images. `ratio` is that of the medians.
    """
    if workers < 1 or rounds < 1:
        raise UserError(f"loader: {workers} workers and {rounds} rounds, expected at least one of each")
    dataset = open_split(run.data.root, "train", run.label_space)
    batch = min(run.train.batch_size, len(dataset))
    plan = BatchPlan(dataset.ids, batch, 1, run.seed, sizes=run.train.multi_scale)
    steps = min(plan.steps_per_epoch, max(1, -(-images // batch)))
    speeds: dict[str, list[float]] = {"single": [], "threads": []}
    for turn in range(rounds + 1):
        for kind, count in (("single", 0), ("threads", workers)):
            preprocess, augment = make_preprocess(run.preprocess.plain()), make_augment(run.train.augment)
            loader = Loader(dataset, plan, preprocess, augment, run.seed, workers=count, cache_bytes=0)
            begun = time.perf_counter()
            made = sum(len(b.image_ids) for b in loader.batches(1, start_step=plan.steps_per_epoch - steps))
            seconds = time.perf_counter() - begun
            speeds[kind] += [made / seconds] if turn else []
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    return {"workers": workers, "images": steps * batch, **speeds, "ratio": medians["threads"] / medians["single"]}
