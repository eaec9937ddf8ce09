import numpy as np

from parity.train.meter import Meter


def test_the_peak_is_seen_from_outside_and_reset():
    with Meter() as meter:
        before = meter.peak()
        block = np.ones(300_000_000 // 8)
        block += 1
        high = meter.peak()
        del block
        meter.peak()
        after = meter.peak()
    assert high > before + 200 and after < high - 200
