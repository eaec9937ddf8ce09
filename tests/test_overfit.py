"""A few images learnt by heart in both frameworks, from the same weights.

Data, targets, losses, optimiser, post-processing and COCO's AP have to be right together, or this does not come out.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import show_overfit
import workflow_config
import yaml
from interpreters import interpreter

from parity.compare.comparison import Run
from parity.config.layers import merge
from parity.config.resolve import resolve
from parity.data.build import build
from parity.train.record import read_metrics

ROOT = Path(__file__).resolve().parents[1]


PRESET = "config/presets/overfit20.yaml"
FEWER = {
    "data": {"synthetic": {"train_images": 6}},
    "models": {"nanodet": {"train": {"epochs": 250, "batch_size": 6, "eval_every": 0}}},
}


def call(framework: str, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    command = [str(interpreter(framework)), "-m", f"{framework}_impl", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """NanoDet-Plus trained by the overfit preset on fewer images, by framework."""
    folder = tmp_path_factory.mktemp("overfit")
    layers = [yaml.safe_load((ROOT / path).read_text()) for path in ("config/config.yaml", PRESET)]
    config = workflow_config.load(merge(merge(*layers), FEWER), [])
    build({"source": config.data.source, "name": "overfit", **config.data.settings.plain()}, folder / "data")
    weights = folder / "init.safetensors"
    call("torch", "init", "--model", "nanodet", "--num-classes", "7", "--out", str(weights))
    resolved = resolve(config, "nanodet")
    place = resolved.data.but(root=str(folder / "data"))
    found = {}
    for framework in ("torch", "jittor"):
        run = resolved.but(data=place).run(framework, 0, str(weights))
        (folder / f"{framework}.yaml").write_text(yaml.safe_dump(run.plain()))
        out = folder / framework
        call(framework, "train", "--config", str(folder / f"{framework}.yaml"), "--out", str(out))
        lines = read_metrics(out / "metrics.jsonl")
        steps, epochs = ([line for line in lines if line["kind"] == kind] for kind in ("step", "epoch"))
        coco = json.loads((out / "coco.json").read_text())
        found[framework] = Run(framework, 0, out, steps=steps, epochs=epochs, coco=coco)
    return found


@pytest.mark.parametrize("framework", ["torch", "jittor"])
def test_what_can_vanish_of_the_loss_vanishes(runs, framework):
    run = runs[framework]
    print(show_overfit.table([run]))
    assert show_overfit.left(run) < 0.02
    last = run.epochs[-1]["losses"]
    assert 0.09 < last["aux_loss_dfl"] < 0.14, "half a nat with a weight of 0.25 is 0.125"


@pytest.mark.parametrize("framework", ["torch", "jittor"])
def test_every_object_is_found_where_it_is(runs, framework):
    assert runs[framework].final("AP50") > 0.99
    assert runs[framework].final("AP75") > 0.95
    assert show_overfit.learnt(runs[framework])


def test_a_run_that_learnt_nothing_is_not_let_through(runs):
    run = runs["torch"]
    untrained = Run("torch", 0, run.dir, steps=run.steps, epochs=[run.steps[0]], coco=run.coco)
    assert show_overfit.left(untrained) == 1 and not show_overfit.learnt(untrained)
