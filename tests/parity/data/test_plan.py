import pytest

from parity.data.plan import BatchPlan
from parity.errors import UserError

IDS = list(range(100, 121))  # 21 images
KNOWN = "3b3d0fefb4024fd6ae38825914c1556fb7a5f9793351fa45b6c7c724ae33b013"


def test_an_epoch_shows_every_image_at_most_once():
    plan = BatchPlan(IDS, 4, 3, seed=0)
    assert plan.steps_per_epoch == 5 and plan.steps == 15
    shown = [i for ids in plan.epoch_ids(1) for i in ids]
    assert len(shown) == len(set(shown)) == 20 and set(shown) <= set(IDS)


def test_the_last_batch_can_be_kept():
    plan = BatchPlan(IDS, 4, 1, seed=0, drop_last=False)
    sizes = [len(ids) for ids in plan.epoch_ids(1)]
    assert sizes == [4] * 5 + [1]
    assert sorted(i for ids in plan.epoch_ids(1) for i in ids) == IDS


def test_pure_function_of_seed_and_epoch():
    plan, again = BatchPlan(IDS, 4, 3, seed=5), BatchPlan(reversed(IDS), 4, 3, seed=5)
    assert plan.epoch_ids(2) == again.epoch_ids(2) and plan.digest() == again.digest()
    assert plan.epoch_ids(1) != plan.epoch_ids(2)
    assert BatchPlan(IDS, 4, 3, seed=6).digest() != plan.digest()
    assert BatchPlan(IDS, 4, 4, seed=5).digest() != plan.digest()
    assert BatchPlan(IDS, 4, 9, seed=5).epoch_ids(2) == plan.epoch_ids(2)


def test_known_digest():
    """Resumed and compared runs rely on the plan of yesterday: a change of this value is a change of every plan."""
    assert BatchPlan(IDS, 4, 2, seed=1, sizes=[32, 64]).digest() == KNOWN


def test_sizes_come_from_the_list_and_from_the_step():
    plan = BatchPlan(IDS, 4, 50, seed=0, sizes=[480, 640, 640])
    drawn = [size for _, _, _, size in plan]
    assert set(drawn) == {480, 640} and len(drawn) == 250
    assert 0.55 < drawn.count(640) / len(drawn) < 0.78
    assert plan.size(7, 3) == BatchPlan(IDS, 2, 9, seed=0, sizes=[480, 640, 640]).size(7, 3)
    assert BatchPlan(IDS, 4, 1, seed=0).size(1, 0) is None


def test_bad_plans_are_refused():
    with pytest.raises(UserError, match="batch_size: 22 is more than the 21"):
        BatchPlan(IDS, 22, 1, seed=0)
    with pytest.raises(UserError, match="occurs twice"):
        BatchPlan([1, 1, 2], 1, 1, seed=0)
    with pytest.raises(UserError, match="batch_size 0"):
        BatchPlan(IDS, 0, 1, seed=0)
