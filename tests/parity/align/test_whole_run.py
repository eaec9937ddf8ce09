"""Steps of a finished run are taken again from its checkpoints, spread over the whole training."""

import argparse
import json

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity.align import whole_run
from parity.align.whole_run import Kept, chosen, judge, told
from parity.config.run import load_run
from parity.errors import UserError
from parity.train import engine
from parity.weights import formats


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of nine steps that kept its three checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.full(2, 0.2, np.float32)}
    formats.write(folder / "init.safetensors", arrays | {"norm.running_mean": np.full(2, 0.1, np.float32)})
    run = make_run(make_dataset(folder / "data"), folder / "init.safetensors")
    run["train"] = run["train"] | {"epochs": 5}
    (folder / "run.yaml").write_text(yaml.safe_dump(run | {"keep_checkpoints": 9}))
    settings = load_run(folder / "run.yaml")
    engine.train(settings, NumpyFramework("cpu", 1, {}), folder / "out")
    return folder


def take(folder, framework, out, nudge=False, count=4):
    args = argparse.Namespace(config=folder / "run.yaml", run=folder / "out", out=out, count=count, nudge=nudge)
    whole_run.run(args, framework)
    return out


class Leaning(NumpyFramework):
    """Its gradients are a little too long at every step."""

    def gradients(self):
        return {name: g * np.float32(1.001) for name, g in super().gradients().items()}


class OtherLoss(NumpyFramework):
    """Its loss is a hundredth of a percent off."""

    def forward_backward(self, *args, **kwargs):
        result = super().forward_backward(*args, **kwargs)
        result.total *= 1.0005
        return result


def test_equal_frameworks_pass_and_the_verdict_says_which_steps(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", nudge=True)
    found = judge(first, take(trained, NumpyFramework, tmp_path / "b"), trained / "out")
    assert found["verdict"] == "pass"
    assert found["curves"]["steps"] == [4, 7, 10, 13] and found["of"] == 15
    assert found["expected"]["steps"] == found["compared"]["steps"] == 4
    assert found["details"]["lean"]["loss"]["n"] == 4
    assert "steps [4, 7, 10, 13] of 15" in told(found)[0] and len(told(found)) == 3
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("framework", [Leaning, OtherLoss])
def test_a_framework_that_differs_fails(trained, tmp_path, framework):
    first = take(trained, NumpyFramework, tmp_path / "a", nudge=True)
    assert judge(first, take(trained, framework, tmp_path / "b"), trained / "out")["verdict"] == "fail"


def test_too_few_steps_are_incomplete(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", count=2)
    found = judge(first, take(trained, NumpyFramework, tmp_path / "b", count=2), trained / "out")
    assert found["verdict"] == "incomplete" and "2 steps" in found["where"]


def test_another_run_than_the_one_that_was_logged_is_seen(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", nudge=True)
    log = tmp_path / "run"
    log.mkdir()
    lines = [json.loads(line) for line in (trained / "out/metrics.jsonl").read_text().splitlines()]
    changed = [json.dumps(line | {"total": 2 * (line["total"] or 0)}) for line in lines]
    (log / "metrics.jsonl").write_text("\n".join(changed) + "\n")
    found = judge(first, take(trained, NumpyFramework, tmp_path / "b"), log)
    assert found["verdict"] == "fail" and "does not repeat its own loss" in found["details"]["failures"][0]


def test_a_run_that_kept_only_its_end_is_refused(trained, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step-00000015.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="larger keep_checkpoints"):
        Kept(tmp_path, 15, 4)


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [
        ([31, 61, 91, 121, 151, 181, 211, 241, 271, 301, 331], 5, [31, 61, 91, 181, 331]),
        ([4, 7], 5, [4, 7]),
        ([9], 5, [9]),
        ([100, 101, 102, 103], 3, [100, 101, 103]),
    ],
)
def test_steps_are_spread_at_equal_ratios_with_both_ends(steps, count, expected):
    assert chosen(steps, count) == expected
