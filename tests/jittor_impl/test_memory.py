"""A long training keeps its memory: 500 steps of a small model, seen from outside the process.

Neither files nor threads pile up. `STEPS=2000` trains longer.
"""

import os

from jittor_impl.framework import JittorFramework
from parity.data.draws import Draws
from parity.train.meter import Meter

STEPS = int(os.environ.get("STEPS", "500"))
COUNTS = [(2, 3), (0, 1), (4, 2), (1, 1)]  # the number of boxes changes from step to step, as in training


def test_memory_does_not_grow_over_500_steps(options, batch, groups):
    framework = JittorFramework("cpu", 1, {})
    framework.seed(0)
    framework.build("rtdetr", options())
    made = groups(framework)
    framework.make_optimizer("AdamW", made, betas=[0.9, 0.999], eps=1e-8)
    framework.start_ema()
    batches = [batch(counts, seed=i) for i, counts in enumerate(COUNTS)]
    peaks, held = [], []
    with Meter() as meter:
        for step in range(1, STEPS + 1):
            framework.forward_backward(batches[step % len(batches)], Draws(0, step), 0)
            framework.optimizer_step([group.lr for group in made], 0.1)
            framework.update_ema(0.9)
            if step % 100 == 0:
                peaks.append(meter.peak())
                held.append((len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))))
    # The first hundred fill caches and pools; a leak of one activation map a step would be far above the bound.
    assert max(peaks[1:]) - peaks[1] < 10, peaks
    assert max(peaks[3:]) <= max(peaks[1:3]) + 4, peaks
    assert all(now <= first for first, now in zip(held[0], held[-1], strict=True)), held
