"""A long training keeps its memory: 500 steps of a small model, seen from outside the process."""

from parity.draws import Draws
from parity.meter import Meter
from torch_impl.framework import TorchFramework

COUNTS = [(2, 3), (0, 1), (4, 2), (1, 1)]  # the number of boxes changes from step to step, as in training


def test_memory_does_not_grow_over_500_steps(options, batch, groups):
    framework = TorchFramework("cpu", 1, {})
    framework.seed(0)
    framework.build("rtdetr", options())
    made = groups(framework)
    framework.make_optimizer("AdamW", made, betas=[0.9, 0.999], eps=1e-8)
    framework.start_ema()
    batches = [batch(counts, seed=i) for i, counts in enumerate(COUNTS)]
    peaks = []
    with Meter() as meter:
        for step in range(1, 501):
            framework.forward_backward(batches[step % len(batches)], Draws(0, step), 0)
            framework.optimizer_step([group.lr for group in made], 0.1)
            framework.update_ema(0.9)
            if step % 100 == 0:
                peaks.append(meter.peak())
    # The first hundred fill caches and pools; a leak of one activation map a step would be far above the bound.
    assert max(peaks[1:]) - peaks[1] < 10, peaks
    assert max(peaks[3:]) <= max(peaks[1:3]) + 4, peaks
