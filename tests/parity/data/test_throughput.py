"""What is measured about the loader; never how fast it is."""

import pytest
from small_run import TRAIN, make_run

from parity.config.run import RunConfig
from parity.data import throughput
from parity.data.loader import Loader
from parity.errors import UserError


def settings(root, batch_size=4):
    """A run on the dataset `root`, as far as the loader asks."""
    augment = {"kind": "rtdetr", "flip": 0.5}
    train = TRAIN | {"batch_size": batch_size, "multi_scale": [64, 96], "augment": augment}
    run = make_run(root, root / "init.safetensors")
    return RunConfig(**run | {"seed": 0, "train": train, "preprocess": {"kind": "square", "size": 64}})


def test_both_ways_take_turns_over_the_same_batches(shapes, monkeypatch):
    seen = []

    class Watched(Loader):
        def batches(self, *given, **options):
            for batch in super().batches(*given, **options):
                seen.append((self.workers, self.cache.limit, tuple(batch.image_ids)))
                yield batch

    monkeypatch.setattr(throughput, "Loader", Watched)
    result = throughput.compare(settings(shapes), workers=2, images=8, rounds=2)
    assert [count for count, *_ in seen] == [0, 0, 2, 2] * 3
    assert {limit for _, limit, _ in seen} == {0}
    assert [ids for *_, ids in seen] == [ids for *_, ids in seen[:2]] * 6
    assert result["images"] == 8 and result["workers"] == 2
    assert len(result["single"]) == len(result["threads"]) == 2 and min(result["single"]) > 0


def test_the_ratio_is_that_of_the_medians(shapes, monkeypatch):
    clock = iter([0, 9, 0, 9, 0, 8, 0, 4, 0, 4, 0, 2, 0, 16, 0, 1])  # seconds: begun, ended; the first two do not count
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(clock))
    result = throughput.compare(settings(shapes), workers=1, images=8, rounds=3)
    assert result["single"] == [1.0, 2.0, 0.5] and result["threads"] == [2.0, 4.0, 8.0]
    assert result["ratio"] == 4.0


def test_a_batch_is_never_more_than_there_is(shapes):
    assert throughput.compare(settings(shapes, batch_size=100), workers=1, rounds=1)["images"] == 14


def test_one_of_each_at_least(shapes):
    with pytest.raises(UserError, match="0 workers"):
        throughput.compare(settings(shapes), workers=0)
