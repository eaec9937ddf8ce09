"""The ratio of two series of iteration times."""

import numpy as np

from parity.logs.ratio import ratio_of_medians


def test_equal_slower_and_unclear():
    rng = np.random.default_rng(1)
    base, same = ((0.1 + 0.001 * rng.standard_normal(200)).tolist() for _ in range(2))
    assert ratio_of_medians(base, same, 0.05).verdict == "equivalent"
    slower = ratio_of_medians(base, [1.5 * v for v in same], 0.05)
    assert slower.verdict == "different" and slower.low < 1.5 < slower.high
    noisy = (0.1 * np.exp(0.5 * rng.standard_normal(30))).tolist()
    assert ratio_of_medians(base, noisy, 0.05).verdict == "inconclusive"


def test_too_little_gives_no_verdict():
    assert ratio_of_medians([0.1] * 20, [0.1] * 3, 0.05).code == "few"
    assert ratio_of_medians([0.1] * 20, [], 0.05).code == "none"


def test_the_same_every_time():
    a, b = list(np.linspace(1, 2, 40)), list(np.linspace(1.1, 2, 40))
    assert ratio_of_medians(a, b, 0.05) == ratio_of_medians(a, b, 0.05)
