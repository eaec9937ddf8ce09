"""Steps of a finished training are taken again from the states that it kept, and two frameworks are compared."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy_framework import NumpyFramework
from small_run import make_dataset, make_run

from parity import cli
from parity.align.files import STEPS, Arrays, save_arrays
from parity.align.whole_run import judge, told
from parity.config.run import load_run
from parity.train import engine
from parity.weights import formats

SCRIPT = Path(__file__).resolve().parents[3] / "workflow/scripts/whole_run.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of fifteen steps that kept the states before four of them."""
    folder = tmp_path_factory.mktemp("run")
    arrays = {"box.weight": np.full(4, 0.3, np.float32), "score.weight": np.full(2, 0.2, np.float32)}
    formats.write(folder / "init.safetensors", arrays | {"norm.running_mean": np.full(2, 0.1, np.float32)})
    run = make_run(make_dataset(folder / "data"), folder / "init.safetensors")
    run["train"] = run["train"] | {"epochs": 5}
    (folder / "run.yaml").write_text(yaml.safe_dump(run | {"keep_states": 4}))
    settings = load_run(folder / "run.yaml")
    engine.train(settings, NumpyFramework("cpu", 1, {}), folder / "out")
    return folder


def take(folder, framework, out, *options, states=None):
    """The verb, as the workflow calls it."""
    states = states or folder / "out/states.npz"
    given = ["steps", "--config", folder / "run.yaml", "--states", states, "--out", out, *options]
    assert cli.main(framework, [str(word) for word in given]) == 0
    assert {path.name for path in out.iterdir()} == set(STEPS)
    return out


class WrongSign(NumpyFramework):
    """One gradient points the other way; its norm is right."""

    def gradients(self):
        return super().gradients() | {"box.weight": -self.grads["box.weight"]}


class ShortSteps(NumpyFramework):
    """Gradients are right, steps are a tenth of a percent too short."""

    def optimizer_step(self, lrs, clip_norm, norm=True):
        return super().optimizer_step([0.999 * lr for lr in lrs], clip_norm, norm)


class LateLoss(NumpyFramework):
    """The loss is wrong in the last epoch only, where the ladder before the training never comes to."""

    def forward_backward(self, batch, draws, epoch, *args, **kwargs):
        result = super().forward_backward(batch, draws, epoch, *args, **kwargs)
        result.total *= 1.001 if epoch == 4 else 1
        return result


class Leaning(NumpyFramework):
    """Every loss is off by less than any single limit, always to the same side."""

    def forward_backward(self, *args, **kwargs):
        result = super().forward_backward(*args, **kwargs)
        result.total *= 1 + 5e-5
        return result


def test_equal_frameworks_pass_and_the_verdict_says_how_much_was_compared(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", "--nudge")
    found = judge(first, take(trained, NumpyFramework, tmp_path / "b"), trained / "out")
    assert found["verdict"] == "pass"
    assert found["curves"]["steps"] == [2, 3, 7, 15] and found["of"] == 15
    assert found["compared"] == found["expected"]
    assert {"states": 4, "steps": 4, "grads at the anchors": 2, "updates at the anchors": 2}.items() <= dict(
        found["compared"]
    ).items()
    assert found["details"]["lean"]["loss"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 4}
    assert all(len(curve) == 4 for curve in found["curves"].values())
    assert "steps 2, 3, 7, 15 of 15" in told(found)[0] and len(told(found)) == 3
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("framework", "where"),
    [
        (WrongSign, "grad of box.weight, median over the anchors"),
        (ShortSteps, "lean to one side: update along the gradient -1.0e-03"),
        (LateLoss, "step 15 from the same state: total"),
        (Leaning, "lean to one side: loss +5.0e-05"),
    ],
)
def test_a_planted_fault_fails_and_is_named_on_the_way_that_the_workflow_takes(trained, tmp_path, framework, where):
    take(trained, NumpyFramework, tmp_path / "steps/numpy", "--nudge")
    take(trained, framework, tmp_path / "steps/other")
    given = ["--frameworks", "numpy", "other", "--steps", tmp_path / "steps", "--run", trained / "out"]
    command = [sys.executable, SCRIPT, *given, "--out", tmp_path / "whole_run.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # the report tells it; the training is over
    assert done.stdout.startswith("steps over the whole training: fail")
    found = json.loads((tmp_path / "whole_run.json").read_text())
    assert found["verdict"] == "fail" and where in "\n".join(found["details"]["failures"])


def test_states_that_were_not_kept_make_it_incomplete(trained, tmp_path):
    few = tmp_path / "states.npz"
    kept = Arrays(trained / "out/states.npz")
    for prefixes, told_why in ((("2/", "7/"), "2 of 4 states"), ((), "0 of 4 states")):
        save_arrays(few, {name: kept[name] for name in kept if name.startswith(prefixes or ("none",))})
        first = take(trained, NumpyFramework, tmp_path / "a", "--nudge", states=few)
        found = judge(first, take(trained, NumpyFramework, tmp_path / "b", states=few), trained / "out")
        assert found["verdict"] == "incomplete" and told_why in found["where"]
        assert (found["expected"]["states"], found["compared"]["states"]) == (4, len(prefixes))


def test_a_step_that_one_framework_did_not_take_fails(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", "--nudge")
    second = take(trained, NumpyFramework, tmp_path / "b")
    arrays = Arrays(second / "anchors.npz")
    save_arrays(second / "anchors.npz", {name: arrays[name] for name in arrays if not name.startswith("7/")})
    found = judge(first, second, trained / "out")
    assert found["verdict"] == "fail" and "step 7 from the same state: only one framework took it" in found["where"]


def test_another_run_than_the_one_that_was_logged_is_seen(trained, tmp_path):
    first = take(trained, NumpyFramework, tmp_path / "a", "--nudge")
    second, log = take(trained, NumpyFramework, tmp_path / "b"), tmp_path / "run"
    log.mkdir()
    lines = [json.loads(line) for line in (trained / "out/metrics.jsonl").read_text().splitlines()]
    changed = [json.dumps(line | {"total": 2 * (line["total"] or 0)}) for line in lines]
    (log / "metrics.jsonl").write_text("\n".join(changed) + "\n")
    found = judge(first, second, log)
    assert found["verdict"] == "fail" and "does not repeat its own loss" in found["details"]["failures"][0]
    (log / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines if line.get("step") != 7) + "\n")
    assert "step 7: is not in" in judge(first, second, log)["details"]["failures"][0]


def test_an_earlier_result_does_not_vouch_for_a_verb_that_failed(trained, tmp_path, capsys):
    out = take(trained, NumpyFramework, tmp_path / "a")
    given = ["--config", trained / "run.yaml", "--states", tmp_path / "missing.npz", "--out", out]
    assert cli.main(NumpyFramework, ["steps", *map(str, given)]) == 2
    assert "missing.npz: cannot be read as npz" in capsys.readouterr().err
    assert not list(out.iterdir())
    shutil.rmtree(out)
