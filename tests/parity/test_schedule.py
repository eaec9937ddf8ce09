import math

import numpy as np
import pytest

from parity.errors import UserError
from parity.schedule import ema_decay, lr_factors


def test_multistep_drops_at_the_beginning_of_an_epoch():
    factors = lr_factors({"kind": "multistep", "milestones": [1, 3], "gamma": 0.1}, 4, 2)
    assert np.allclose(factors, [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_ends_near_its_final_factor_and_warms_up_linearly():
    spec = {"kind": "cosine", "final_factor": 0.2, "warmup_steps": 4, "warmup_factor": 0.0}
    factors, plain = lr_factors(spec, 10, 10), lr_factors({**spec, "warmup_steps": 0}, 10, 10)
    assert plain[0] == 1 and plain[50] == pytest.approx(0.6) and 0.2 < plain[-1] < 0.201
    assert np.allclose(factors[:4] / plain[:4], [0, 0.25, 0.5, 0.75]) and np.array_equal(factors[4:], plain[4:])


def test_an_unknown_schedule_is_named():
    with pytest.raises(UserError, match=r"train\.schedule\.kind is 'step'"):
        lr_factors({"kind": "step"}, 1, 1)


def test_ema_decay_starts_low():
    spec = {"decay": 0.9999, "warmups": 2000}
    assert ema_decay(spec, 1) == pytest.approx(0.9999 * (1 - math.exp(-1 / 2000)))
    assert ema_decay(spec, 10**6) == 0.9999
