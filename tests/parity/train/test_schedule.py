import math

import numpy as np
import pytest
from pydantic import ValidationError

from parity.config.train import EmaConfig, ScheduleConfig
from parity.train.schedule import ema_decay, lr_factors


def test_multistep_drops_at_the_beginning_of_an_epoch():
    factors = lr_factors(ScheduleConfig(kind="multistep", milestones=[1, 3], gamma=0.1), 4, 2)
    assert np.allclose(factors, [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_ends_near_its_final_factor_and_warms_up_linearly():
    spec = ScheduleConfig(kind="cosine", final_factor=0.2, warmup_steps=4, warmup_factor=0.0)
    factors, plain = lr_factors(spec, 10, 10), lr_factors(spec.but(warmup_steps=0), 10, 10)
    assert plain[0] == 1 and plain[50] == pytest.approx(0.6) and 0.2 < plain[-1] < 0.201
    assert np.allclose(factors[:4] / plain[:4], [0, 0.25, 0.5, 0.75]) and np.array_equal(factors[4:], plain[4:])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "step"}, "kind"),
        ({"kind": "cosine", "final_factor": 0.1, "per": "batch"}, "per"),
        ({"kind": "multistep", "gamma": 0.1}, "needs milestones for kind multistep"),
        ({"kind": "cosine"}, "needs final_factor for kind cosine"),
    ],
)
def test_a_wrong_schedule_is_refused(spec, said):
    with pytest.raises(ValidationError, match=said):
        ScheduleConfig(**spec)


def test_cosine_per_epoch_is_constant_inside_an_epoch():
    """CosineAnnealingLR with T_max = epochs and eta_min = final_factor * lr, stepped after every epoch."""
    factors = lr_factors(ScheduleConfig(kind="cosine", final_factor=0.05, per="epoch"), 4, 3).reshape(4, 3)
    assert np.array_equal(factors, np.repeat(factors[:, :1], 3, axis=1))
    assert np.allclose(factors[:, 0], [0.05 + 0.95 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)])


def test_a_warm_up_alone_stands_in_place_of_the_schedule():
    """NanoDet-Plus: 1 - (1 - step / steps) * (1 - ratio) up to and including the last step of the warm-up."""
    spec = ScheduleConfig(kind="cosine", final_factor=0.05, per="epoch", warmup_steps=4, warmup_factor=1e-4)
    alone, times = lr_factors(spec.but(warmup_alone=True), 5, 2), lr_factors(spec, 5, 2)
    assert np.allclose(alone[:5], [1 - (1 - step / 4) * (1 - 1e-4) for step in range(5)]) and alone[4] == 1
    assert times[3] < alone[3] and times[4] < 1 and np.array_equal(alone[5:], times[5:])


def test_ema_decay_starts_low():
    spec = EmaConfig(decay=0.9999, warmups=2000)
    assert ema_decay(spec, 1) == pytest.approx(0.9999 * (1 - math.exp(-1 / 2000)))
    assert ema_decay(spec, 10**6) == 0.9999


def test_ema_of_nanodet_is_the_official_weight_of_the_new_value():
    spec = EmaConfig(decay=0.9998, warmups=2000, offset=1)
    for update in (1, 2, 3, 10000):
        assert 1 - ema_decay(spec, update) == pytest.approx(0.9998 * math.exp(-(1 + update) / 2000) + 0.0002, rel=1e-9)
